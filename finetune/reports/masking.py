"""Masking: secrets, credentials and personal data leave before anything is rendered."""

from __future__ import annotations

import re
from typing import Any

MASK = "[hidden]"

# `tokens`, `tokenizer` and `pad_token` are vocabulary, `hf_token` and `accessToken` are secrets.
_SECRET_KEY = re.compile(
    r"secret|passw(or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credential"
    r"|authorization|token(?![a-z])",
    re.IGNORECASE,
)
_VOCABULARY_KEY = re.compile(
    r"(?:^|_)(?:pad|eos|bos|unk|sep|cls|mask|start|end|stop|image|audio)_token$", re.IGNORECASE
)
_CREDENTIAL = re.compile(
    r"\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6,}"  # Hugging Face
    r"|\bsk-[A-Za-z0-9_-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{16,}"
    r"|\bAKIA[A-Z0-9]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JSON web token
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"  # user:password in a URL
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE = re.compile(r"\+\d[\d ().-]{7,}\d")


def is_secret_key(key: str) -> bool:
    """Say whether the value under this key must not be shown."""
    return bool(_SECRET_KEY.search(key)) and not _VOCABULARY_KEY.search(key)


def mask_credentials(text: str) -> str:
    """Replace whatever looks like an access token, a signed token or a password in a URL."""
    return _CREDENTIAL.sub(MASK, text)


def mask_personal(text: str) -> str:
    """Replace credentials, e-mail addresses and international telephone numbers in row text."""
    return _PHONE.sub(MASK, _EMAIL.sub(MASK, mask_credentials(text)))


def mask(value: Any, *, by_key: bool) -> Any:
    """Return a copy of a JSON or YAML value without secrets.

    Args:
        value: What was read.
        by_key: Also hide what stands under a key such as ``api_key``: for settings. Results have
            class labels for keys, and a class may be called ``reset_password``.
    """
    if isinstance(value, dict):
        return {
            mask_credentials(key) if isinstance(key, str) else key: MASK
            if by_key and _hides(str(key), inner)
            else mask(inner, by_key=by_key)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [mask(inner, by_key=by_key) for inner in value]
    if isinstance(value, str):
        return mask_credentials(value)
    return value


def mask_argument(argument: str) -> str:
    """Mask one command line argument such as ``tracking.token=abc``."""
    key, equals, value = argument.partition("=")
    if equals and value and _hides(key, value):
        return f"{key}={MASK}"
    return mask_credentials(argument)


def _hides(key: str, value: Any) -> bool:
    # A budget such as `max_token: 512` is a number and no secret; a password may be one.
    if value is None or value == "" or isinstance(value, bool):
        return False
    if isinstance(value, (int, float)) and re.search("token", key, re.IGNORECASE):
        return False
    return is_secret_key(key)
