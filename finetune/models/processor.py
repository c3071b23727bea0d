"""Load tokenizers and processors from a checked folder, offline, and know their limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune.errors import ArtefactError, ConfigError
from finetune.models import trust
from finetune.models.load import read_config

UNLIMITED = 10**9
"""Above this, `model_max_length` means that the tokenizer does not know one."""


def load_tokenizer(folder: Path, *, special_tokens_in_text: bool = True) -> Any:
    """Load a tokenizer; one without a padding token pads with its end token, masked by length.

    Args:
        folder: A model folder.
        special_tokens_in_text: Whether `[SEP]` in a text is the token or five characters; the
            merged model's tokenizer keeps to it.

    Raises:
        ArtefactError: The folder has none that loads.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, folder, "tokenizer")
    if not special_tokens_in_text:
        _as_plain_text(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _as_plain_text(tokenizer: Any) -> None:
    """Make a tokenizer, and what is saved of it, read special tokens in texts as characters."""
    tokenizer.split_special_tokens = True
    tokenizer.init_kwargs["split_special_tokens"] = True


def load_processor(folder: Path, part: str, *, special_tokens_in_text: bool = True) -> Any:
    """Load what turns pictures or sound and text into model inputs.

    Args:
        folder: A model folder.
        part: What it must have beside a tokenizer: `image_processor` or `feature_extractor`.
        special_tokens_in_text: As for `load_tokenizer`.

    Raises:
        ArtefactError: The folder has none that loads.
        ConfigError: Its processor is for other inputs.
    """
    from transformers import AutoProcessor

    processor = _load(AutoProcessor, folder, "processor")
    missing = [name for name in (part, "tokenizer") if not hasattr(processor, name)]
    if missing:
        raise ConfigError(
            f"The model in `{folder}` has no {missing[0].replace('_', ' ')}: it is made for other "
            "tasks.",
            fix="Choose a base model of this task's family, or another task.",
        )
    if not special_tokens_in_text:
        _as_plain_text(processor.tokenizer)
    return processor


def _load(auto_class: Any, folder: Path, kind: str) -> Any:
    trust.check_options(folder)
    try:
        loaded = auto_class.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        vocabulary = _tokenizer_of(loaded).get_vocab()
        special = len(_tokenizer_of(loaded).added_tokens_decoder)
    except MemoryError:
        raise
    except Exception as error:  # tokenizers and sentencepiece have no class of their own for it
        raise ArtefactError(
            f"`{folder}` has no {kind} that loads: {' '.join(str(error).split())[:300]}",
            fix=f"Put the {kind} files that the base model was published with beside its weights.",
            where=str(folder),
        ) from error
    if len(vocabulary) - special <= 1:
        # transformers makes a tokenizer of special tokens alone where the files are missing
        raise ArtefactError(
            f"`{folder}` has no tokenizer: what loads knows no word.",
            fix="Put the tokenizer files that the base was published with beside its weights.",
            where=str(folder),
        )
    known = (folder / "config.json").is_file()
    rows = getattr(read_config(folder).get_text_config(), "vocab_size", None) if known else None
    if isinstance(rows, int):
        trust.check_tokenizer_fits(max(vocabulary.values()) + 1, rows)
    return loaded


def _tokenizer_of(loaded: Any) -> Any:
    """Return the tokenizer of a processor; a tokenizer is its own."""
    return getattr(loaded, "tokenizer", loaded)


def token_limit(tokenizer: Any, config: Any = None) -> int | None:
    """Return the most tokens that tokenizer and configuration say the model takes, or None."""
    limits = [
        getattr(tokenizer, "model_max_length", None),
        getattr(config, "max_position_embeddings", None),
        getattr(config, "n_positions", None)
        if not getattr(config, "is_encoder_decoder", False)
        else None,
    ]
    known = [
        int(limit) for limit in limits if isinstance(limit, (int, float)) and 0 < limit < UNLIMITED
    ]
    return min(known) if known else None
