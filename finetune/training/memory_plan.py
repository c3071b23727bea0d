"""Whether activations are kept or computed again: what a micro-batch takes against what is free.

What it takes is counted, not modelled: the longest row goes forward once, and the tensors that
autograd keeps for the backward pass are added up. Smaller micro-batches are cheaper than computing
every layer twice, down to a size below which a device is no longer busy.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from finetune.errors import ConfigError
from finetune.tasks.base import to_device
from finetune.training import ranks
from finetune.training.free_memory import available
from finetune.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import nn

    from finetune.training.trainer import TaskTrainer

SHARE = 0.8
"""Part of what is free that a plan may use."""
PASSING = 1.75
"""What a step takes at its peak over what is kept, at most: 1.14 to 1.75 was measured."""
AGAIN = 0.5
"""What comes and goes while a layer is computed again, as a part of what would have been kept."""
BUSY = 512
"""Positions of a micro-batch below which cutting it further costs more time than it saves."""
STATE = {"adamw_8bit": 2, "paged_adamw_8bit": 2, "adafactor": 4, "sgd": 0}
"""Bytes that the optimiser keeps of each trained weight; of Adam's in fp32 it is 8."""


@dataclass(frozen=True)
class Plan:
    """What was estimated and chosen."""

    gradient_checkpointing: bool
    """Whether activations are computed again in the backward pass."""
    because: str
    micro_batch_size: int
    """Rows of a micro-batch."""
    free_bytes: int | None = None
    """What is free beside the loaded weights."""
    trained_bytes: int | None = None
    """Gradients and the optimiser's state."""
    row_bytes: int | None = None
    """Activations of the longest row."""

    def facts(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return asdict(self)


def settle(trainer: TaskTrainer, *, asked: bool | str, may_cut: bool, optim: str) -> Plan:
    """Choose, and make the model compute its activations again where that is chosen.

    Args:
        trainer: Before it has begun.
        asked: True, False or ``auto``.
        may_cut: Whether micro-batches may be made smaller here.
        optim: The optimiser, by transformers' name.
    """
    size, model, world = trainer.micro_batch_size, trainer.model, trainer.args.world_size
    if asked is True:
        recompute(model)
    if asked != "auto":
        return Plan(asked is True, f"train.gradient_checkpointing is {str(asked).lower()}", size)
    if trainer.is_sharded:
        return Plan(False, "ranks share the model, and no plan is made", size)
    free = available(trainer.args.device)
    trained, row = of_trained(model, optim, world), of_longest_row(trainer)
    smallest = smallest_worth(trainer, size) if may_cut else size
    fitting = largest_fitting(size, smallest, free, trained, row)
    again = bool(ranks.largest(int(fitting is None), world))
    because = told(free, trained, row, fits=not again)
    if again:
        try:
            recompute(model)
        except ConfigError:
            again, because = False, f"{because}, and this architecture can't do without"
        peak = None if row is None else int((of_longest_row(trainer) or 0) + AGAIN * row)
        fitting = largest_fitting(size, 1, free, trained, peak) or 1
    if may_cut and trainer.args.device.type == "cpu":  # on others the probe finds out what fits
        trainer.seen.halvings += ranks.largest(halvings(size, fitting or size), world)
    return Plan(again, because, trainer.micro_batch_size, free, trained, row)


def largest_fitting(
    size: int, smallest: int, free: int | None, trained: int, row: int | None
) -> int | None:
    """Return the largest micro-batch that fits, halved from the one that is wanted.

    Args:
        size: Rows that are wanted.
        smallest: Rows below which nothing is gained by cutting.
        free: Bytes that are free; where nobody knows, everything fits.
        trained: Bytes that gradients and optimiser take.
        row: Bytes of the longest row; None where not even one fits.

    Returns:
        None where even the smallest doesn't fit.
    """
    if free is None:
        return size
    while row is not None and trained + PASSING * row * size > SHARE * free:
        if size <= smallest:
            return None
        size = (size + 1) // 2
    return size if row is not None else None


def halvings(size: int, wanted: int) -> int:
    """Return how often a micro-batch is halved until it is no larger than wanted."""
    count = 0
    while size > wanted:
        size, count = (size + 1) // 2, count + 1
    return count


def smallest_worth(trainer: TaskTrainer, size: int) -> int:
    """Return the rows of a micro-batch that still keep a device busy."""
    return min(size, max(1, -(-BUSY // max(*trainer.train_rows.lengths, 1))))


def of_trained(model: nn.Module, optim: str, world: int) -> int:
    """Return the bytes of gradients, of the optimiser's state and of what ranks exchange."""
    copies = 2 if world > 1 else 1
    return sum(
        weight.numel() * (weight.element_size() * copies + STATE.get(optim, 8))
        for weight in model.parameters()
        if weight.requires_grad
    )


def of_longest_row(trainer: TaskTrainer) -> int | None:
    """Return the bytes kept of the longest row for its backward pass, None where it doesn't fit."""
    rows, model = trainer.train_rows, trainer.accelerator.unwrap_model(trainer.model)
    longest = max(range(len(rows)), key=lambda row: rows.lengths[row])
    batch = to_device(trainer.task.collate(rows.fetch([longest], [(0, 0)])), model)
    before = [buffer.clone() for buffer in model.buffers()]  # means that a norm keeps
    was_training = model.training
    model.train()
    try:
        with trainer.compute_loss_context_manager():
            return kept_by(lambda: trainer.task.loss(model, batch), model)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None
    finally:
        model.train(was_training)
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
    gc.collect()
    return None


def kept_by(forward: Callable[[], Any], model: nn.Module) -> int:
    """Return the bytes that autograd keeps of a forward pass, beside the weights themselves."""
    owned = {part.untyped_storage().data_ptr() for part in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outcome = forward()  # held until all is noted: what is let go of has its address reused
    del outcome
    return sum(kept.values())


def recompute(model: Any) -> None:
    """Let a model's layers compute their activations again in the backward pass.

    transformers makes embeddings require gradients along with it, which only its other, reentrant
    kind needs, and which costs a backward pass through all layers below the first trained one.

    Raises:
        ConfigError: The architecture has no such layers.
    """
    try:
        model.activation_checkpointing_enable({"use_reentrant": False})
    except (AttributeError, ValueError) as error:
        raise ConfigError(
            "`train.gradient_checkpointing` is true, but this architecture can't compute its "
            "activations again.",
            fix="Use train.gradient_checkpointing=auto, and a smaller train.micro_batch_size.",
        ) from error
    model.disable_input_require_grads()


def told(free: int | None, trained: int, row: int | None, *, fits: bool) -> str:
    """Return what was estimated as half a sentence."""
    if free is None:
        return "what memory is free isn't known here"
    activations = "more than there is" if row is None else in_words(row)
    return (
        f"{in_words(trained)} for what is trained and {activations} for the activations of the "
        f"longest row {'fit' if fits else 'do not fit'} into {in_words(free)}"
    )


def in_words(number: int) -> str:
    """Return a number of bytes in words."""
    return f"{number / 2**20:.3g} MiB" if number < 2**30 else f"{number / 2**30:.3g} GiB"
