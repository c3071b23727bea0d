"""Checkpoints that are complete or absent: staged, hashed, synced, renamed, verified before use."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError, StorageError
from finetune.runs import storage

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)
MANIFEST = "manifest.json"
STATE = "trainer_state.json"


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint folder ``step-N``, or -1 for any other name."""
    number = folder.name.removeprefix("step-")
    return int(number) if folder.name.startswith("step-") and number.isdigit() else -1


def all_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted((entry for entry in folder.iterdir() if step_of(entry) >= 0), key=step_of)


def write_weights(model: nn.Module, folder: Path, state_dict: Any = None) -> None:
    """Write the trained weights alone, as safetensors: of an adapter without its base."""
    from peft import PeftModel
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(str(folder), state_dict=state_dict, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        config = folder / "adapter_config.json"  # names the folder where the base lies here and now
        values = {**storage.read_json(config), "base_model_name_or_path": None}
        if isinstance(values.get("target_modules"), list):  # a set, in any order
            values["target_modules"].sort()
        storage.write_json(config, values)
    elif hasattr(model, "save_pretrained"):
        model.save_pretrained(str(folder), state_dict=state_dict)
    else:
        weights = state_dict or model.state_dict()
        save_file(
            {key: value.contiguous() for key, value in weights.items()},
            folder / "model.safetensors",
            {"format": "pt"},
        )


@contextlib.contextmanager
def staged(target: Path, *, needed: int | None = None) -> Iterator[Path]:
    """Yield a folder of our own in which a checkpoint is made; nothing stays if that fails.

    Args:
        target: Where the checkpoint is to be.
        needed: Its bytes, about.
    """
    staging = target.with_name(".saving")
    with storage.explained(target, needed=needed):
        storage.remove_tree(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        with cleared(staging):
            yield staging


@contextlib.contextmanager
def cleared(staging: Path) -> Iterator[None]:
    """Leave nothing of a staged checkpoint when the block fails."""
    try:
        yield
    except Exception:
        with contextlib.suppress(OSError, StorageError):
            storage.remove_tree(staging)
        raise


def publish(
    staged: Path, target: Path, facts: Mapping[str, Any], *, keep: int, best: int | None
) -> None:
    """Commit a staged checkpoint and delete older ones; nothing of it stays if that fails."""
    with cleared(staged):
        commit(staged, target, facts)
        rotate(target.parent, keep=keep, best=best)


def has_ended(checkpoint: Path) -> bool:
    """Tell whether training was over when a checkpoint was written."""
    return bool(storage.read_json(checkpoint / MANIFEST).get("ended"))


def commit(staged: Path, target: Path, facts: Mapping[str, Any]) -> None:
    """Publish a staged checkpoint: its manifest last, everything synced, then one rename."""
    with storage.explained(target):
        files = {
            file.relative_to(staged).as_posix(): {
                "sha256": storage.sha256(file),
                "bytes": file.stat().st_size,
            }
            for file in sorted(staged.rglob("*"))
            if file.is_file()
        }
        staged.chmod(0o777 & ~storage.current_umask())
        storage.sync_tree(staged)
        storage.write_json(staged / MANIFEST, {**facts, "files": files})
        before = replaced(target)
        if target.exists():  # the same step, saved once more: one of the two is there at any moment
            storage.remove_tree(before)
            target.replace(before)
        staged.replace(target)
        storage.sync_folder(target.parent)
        storage.remove_tree(before)


def replaced(checkpoint: Path) -> Path:
    """Return where a checkpoint lies while another of the same step takes its place."""
    return checkpoint.with_name(f".replaced-{checkpoint.name}")


def bring_back(folder: Path) -> None:
    """Undo a replacement that was cut off before the new checkpoint was in place."""
    if folder.is_dir():
        for entry in sorted(folder.glob(".replaced-step-*")):
            target = entry.with_name(entry.name.removeprefix(".replaced-"))
            if target.exists():
                storage.remove_tree(entry)
            else:
                entry.replace(target)


def problem_with(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None when every file is as it was written."""
    file = checkpoint / MANIFEST
    if not file.is_file():
        return f"{MANIFEST} is missing"
    try:
        listed = storage.read_json(file)["files"].items()
        files = {name: (facts["bytes"], facts["sha256"]) for name, facts in listed}
    except (ValueError, KeyError, TypeError, AttributeError):
        files = {}
    if not files:
        return f"{MANIFEST} is not readable"
    for name, (size, sha256) in files.items():
        path = checkpoint / name
        if path.is_symlink() or not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if storage.sha256(path) != sha256:
            return f"{name} was changed after it was written"
    return None


def newest_valid(
    folder: Path, stranger: Callable[[Mapping[str, Any]], str | None] | None = None
) -> Path | None:
    """Return the newest checkpoint that verifies; a bad one becomes ``.bad-…`` with a warning.

    Args:
        folder: Holds checkpoints.
        stranger: Tells by a manifest why a checkpoint belongs to another run, if it does.

    Raises:
        ArtefactError: There are checkpoints and none verifies.
    """
    bring_back(folder)
    bad: list[tuple[Path, str]] = []
    for checkpoint in reversed(all_in(folder)):
        problem = problem_with(checkpoint)
        if problem is None and stranger is not None:
            problem = stranger(storage.read_json(checkpoint / MANIFEST))
        if problem is None:
            for other, why in bad:
                aside = other.with_name(f".bad-{other.name}")
                storage.remove_tree(aside)
                other.replace(aside)
                logger.warning(
                    "Checkpoint %s is not used (%s); going on from %s.",
                    other.name,
                    why,
                    checkpoint.name,
                )
            return checkpoint
        bad.append((checkpoint, problem))
    if bad:
        raise ArtefactError(
            [
                f"No checkpoint in `{folder}` is valid:",
                *(f"{path.name}: {why}." for path, why in bad),
            ],
            fix="Start anew with run.overwrite=true or train.resume=never.",
            where=str(folder),
        )
    return None


def rotate(folder: Path, *, keep: int, best: int | None) -> None:
    """Delete the oldest checkpoints, but never the newest two, nor the best."""
    checkpoints = all_in(folder)
    protected = {step_of(entry) for entry in checkpoints[-max(keep, 2) :]} | {best}
    for entry in checkpoints:
        if step_of(entry) not in protected:
            storage.remove_tree(entry)
