"""The hub: its cache, its answers and refusals, and the download of a model's safe files only."""

from __future__ import annotations

import errno
import fnmatch
import logging
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from finetune.errors import ArtefactError, HubError, StorageError
from finetune.models import trust

logger = logging.getLogger(__name__)

HASHED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*config*.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "normalizer.json",
    "modules.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "*.jinja",
)
"""What decides how a model behaves: its weights, its configuration, its tokenizer or processor."""

WANTED = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "[0-9]_*/model.safetensors",  # the later modules of a sentence-transformers folder
    *(pattern for pattern in HASHED if pattern != "*.safetensors"),
    "README.md",
    "LICENSE*",
)
"""What is downloaded. A repository often holds the same weights four times over, and pickles."""

UNWANTED = ("onnx/*", "openvino/*", "original/*", "coreml/*", "checkpoint-*/*", "*.index.fp*")


SECONDS_TO_ANSWER = 10.0
"""How long the hub has to say what a revision is before it counts as out of reach."""

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")

Result = TypeVar("Result")


class OutOfReachError(Exception):
    """The hub didn't answer, or answered that it can't."""


def cached(name: str, revision: str) -> Path | None:
    """Return the hub cache's snapshot when it has everything, without a network call."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None
    # Other tools cache file by file and leave no listing: then only the files themselves tell.
    return folder if (folder / "config.json").is_file() and trust.has_weights(folder) else None


def download(name: str, revision: str) -> Path:
    """Download a model's safe files and return the snapshot's folder.

    Raises:
        OutOfReachError: Nobody answered, or the hub said that it is unwell.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    def ask() -> list[str]:
        info = HfApi().model_info(name, revision=revision, timeout=SECONDS_TO_ANSWER)
        return [sibling.rfilename for sibling in info.siblings or []]

    try:
        files = _within(SECONDS_TO_ANSWER, ask)
        _refuse_pickles(name, revision, files)
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
            )
        )
    except HfHubHTTPError as error:
        raise _refused(name, revision, error) from error
    except (ArtefactError, OutOfReachError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StorageError(
                f"`{name}` cannot be written to the hub cache: {error.strerror}.",
                fix="Free some space, or set HF_HOME to a disk that has it.",
            ) from error
        if isinstance(error, (OSError, TimeoutError)) or "http" in type(error).__module__:
            raise OutOfReachError(type(error).__name__) from error
        raise


def _refused(name: str, revision: str, error: Exception) -> Exception:
    """Translate an answer of the hub that wasn't the model."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return HubError(
            f"`{name}` is gated: the hub gives it only to those who accepted its terms.",
            fix=f"Accept them on the model's page on the hub ({name}), then run `hf auth login` "
            "(or set HF_TOKEN).",
        )
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"`{name}` has no revision `{revision}` on the hub.",
            fix="Set `model.revision` to a branch, tag or commit that it has, such as `main`.",
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubError(
            f"`{name}` is not on the hub, and there is no folder of that name here.",
            fix="Check the spelling of `model.name_or_path`; for a private model run "
            "`hf auth login` (or set HF_TOKEN).",
        )
    status = getattr(getattr(error, "response", None), "status_code", "?")
    if status == 401:
        return HubError(
            f"The hub refuses the token that it was sent for `{name}`.",
            fix="Run `hf auth login` again, or correct HF_TOKEN.",
        )
    return OutOfReachError(f"HTTP {status}")


def _refuse_pickles(name: str, revision: str, files: Iterable[str]) -> None:
    """Refuse a repository that has weights, but none as safetensors, before downloading it."""
    files = [file for file in files if "/" not in file]
    pickles = [file for file in files if any(fnmatch.fnmatch(file, p) for p in trust.PICKLES)]
    if pickles and not any(file.endswith(".safetensors") for file in files):
        converted = _within(SECONDS_TO_ANSWER, lambda: _conversion(name))
        advice = (
            f"The hub's converter proposes safetensors at `model.revision={converted}`; check that "
            "proposal on the model's page and pin its commit. "
            if converted
            else ""
        )
        raise ArtefactError(
            f"`{name}` at revision `{revision}` has only pickle weights (`{pickles[0]}`), which "
            "are not loaded because a pickle can run any program.",
            fix=advice + trust.CONVERT,
        )


def _conversion(name: str) -> str | None:
    """Return the hub's own proposal to add safetensors to a repository, if there is one."""
    from huggingface_hub import HfApi

    try:
        proposals = HfApi().get_repo_discussions(
            name, author="SFconvertbot", discussion_type="pull_request"
        )
        return next((p.git_reference for p in proposals if "safetensors" in p.title), None)
    except Exception:  # an extra hint is never worth a failure of its own
        logger.debug("no proposals for %s", name, exc_info=True)
        return None


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Call in a thread and give up on it after a while: name lookup has no time-out of its own."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise OutOfReachError(f"no answer in {seconds:.0f} s")
    return results[0]
