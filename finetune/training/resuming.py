"""What a checkpoint holds beside the weights, and how training takes it up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.runs import storage
from finetune.training import checkpoint, tensors

if TYPE_CHECKING:
    from finetune.training.seen import Seen

OPTIMIZER, SCHEDULER, SCALER, SEEN = "optimizer", "scheduler", "scaler.json", "seen.json"
PLAN = "plan.json"
"""Beside the checkpoints: what a job that could not go on has learnt about memory."""


def write(
    folder: Path, *, optimizer: Any, scheduler: Any, scaler: Any, seen: Seen, state: Any
) -> None:
    """Write the state of a run into a folder that becomes a checkpoint.

    Randomness is a function of seed and step (`seeding`), and so is the order of rows
    (`sampling`): neither needs a file.

    Args:
        folder: An existing folder.
        optimizer: Its ``state_dict()``.
        scheduler: The learning rate's schedule.
        scaler: Of fp16, or None.
        seen: What was counted.
        state: transformers' TrainerState: step, epoch, best-so-far, patience.
    """
    tensors.write(folder, OPTIMIZER, optimizer)
    tensors.write(folder, SCHEDULER, scheduler.state_dict())
    if scaler is not None:
        storage.write_json(folder / SCALER, scaler.state_dict())
    storage.write_json(folder / SEEN, seen.state())
    state.save_to_json(str(folder / checkpoint.STATE))


def size(model: Any, optimizer: Any) -> int:
    """Return about how many bytes a checkpoint takes: trained weights and optimiser state."""
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return int(trained + tensors.nbytes(optimizer))


def read(
    folder: Path,
    *,
    optimizer: Any,
    scheduler: Any,
    scaler: Any,
    seen: Seen,
    give: Callable[[dict[str, Any], Any], None] | None = None,
) -> None:
    """Take up what `write` has left.

    Args:
        folder: The checkpoint.
        optimizer: Takes its state.
        scheduler: Takes its state.
        scaler: Of fp16, or None.
        seen: Takes the counts.
        give: Gives the optimiser its state, where it is cut among ranks.

    Raises:
        ArtefactError: Files don't belong together.
    """
    asked = [{**group, "params": None} for group in optimizer.param_groups]
    state = tensors.read(folder, OPTIMIZER)
    if give is not None:
        give(state, optimizer)
    else:
        optimizer.load_state_dict(state)
    scheduler.load_state_dict(fitted(tensors.read(folder, SCHEDULER), scheduler))
    keep_asked(optimizer, scheduler, asked)
    if scaler is not None and (folder / SCALER).is_file():
        scaler.load_state_dict(storage.read_json(folder / SCALER))
    seen.load(storage.read_json(folder / SEEN))
    seen.halvings = max(seen.halvings, remembered_plan(folder.parent))


def fitted(state: dict[str, Any], scheduler: Any) -> dict[str, Any]:
    """Return a schedule's state for as many groups of weights as there are now.

    All groups learn at the same rate. Under ZeRO those without weights are gone.
    """
    groups = len(scheduler.optimizer.param_groups)
    lists = ("base_lrs", "_last_lr", "lr_lambdas")
    return {
        key: value[:1] * groups if key in lists and isinstance(value, list) else value
        for key, value in state.items()
    }


def keep_asked(optimizer: Any, scheduler: Any, asked: Sequence[Mapping[str, Any]]) -> None:
    """Let settings of now hold where `run.allow_changes` let them differ from the checkpoint's.

    A group's options, its learning rate too, are part of the optimiser's and the schedule's state.

    Args:
        optimizer: With the checkpoint's state.
        scheduler: With the checkpoint's state.
        asked: The options of each group before that.
    """
    groups = optimizer.param_groups
    for group, wanted in zip(groups, asked, strict=True):
        group.update({k: v for k, v in wanted.items() if k in group and k not in ("params", "lr")})
    rates = [group["initial_lr"] for group in groups]
    if rates != scheduler.base_lrs:  # else not even the last bit is touched
        for group, rate, before in zip(groups, rates, scheduler.base_lrs, strict=True):
            group["lr"] = group["lr"] * rate / before
        scheduler.base_lrs, scheduler._last_lr = rates, [group["lr"] for group in groups]


def remember_plan(checkpoints: Path, halvings: int) -> None:
    """Leave a note for the next attempt: micro-batches must be halved so often."""
    storage.write_json(checkpoints / PLAN, {"halvings": halvings})


def remembered_plan(checkpoints: Path) -> int:
    """Return how often micro-batches must be halved from the start, by what was learnt before."""
    file = checkpoints / PLAN
    if not file.is_file():
        return 0
    content = storage.read_json(file)
    return int(content.get("halvings", 0)) if isinstance(content, dict) else 0


def current_state(trainer: Any) -> Any:
    """Return transformers' state with what its callbacks remember, free of paths and history."""
    from transformers.trainer_callback import ExportableState

    state = trainer.state
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ExportableState):
            state.stateful_callbacks[type(callback).__name__] = callback.state()
    # what was asked of this very moment: a checkpoint on the way to an end, or a signal's
    state.stateful_callbacks.pop(type(trainer.control).__name__, None)
    state.best_model_checkpoint = None  # it would name a folder of this machine
    state.log_history = []  # logs/metrics.jsonl has it
    return state
