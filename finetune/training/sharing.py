"""Rows that begin alike two by two pass what they begin with once, where that changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from finetune.tasks.base import Batch, Task, to_device
from finetune.training import attention, unpadded
from finetune.training.branches import beginnings
from finetune.training.memory import is_out_of_memory
from finetune.training.unpadded import Precision

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.training.rows import Rows

TOLERANCE = {torch.float32: 1e-4}
"""How far gradients may be apart, relative to the largest, by the type the model computes in."""
HALF = 5e-2


class Sharing:
    """Tells attention with what each pair of rows begins, while a model runs.

    Args:
        model: One that `unpadded.prepare` has made ready.
    """

    def __init__(self, model: nn.Module) -> None:
        self.install(model)

    def install(self, model: nn.Module) -> None:
        """Look at what the model is given from now on."""
        self.hooks = [
            model.register_forward_pre_hook(self.look, with_kwargs=True),
            model.register_forward_hook(self.forget, always_call=True),
        ]

    def look(self, model: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """Compare neighbouring rows."""
        del model, args
        ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
        if attention.switch.is_on and ids is not None and mask is not None and len(ids) % 2 == 0:
            attention.switch.shared = beginnings(ids, mask)

    def forget(self, *of_the_pass: Any) -> None:
        """Leave nothing behind for another model."""
        del of_the_pass
        attention.switch.shared = None

    def remove(self) -> None:
        """Let the model be as it was."""
        for hook in self.hooks:
            hook.remove()


def prepare(task: Task, model: Any, rows: Rows, precision: Precision) -> str | None:
    """Let pairs of rows share what they begin with, or leave the model as it is; see `lend`."""
    return lend(task, model, rows, precision)[1]


@contextlib.contextmanager
def spared(task: Task, model: Any, rows: Rows, precision: Precision) -> Iterator[None]:
    """Spare a model padding and copies in the block, as far as it can be; it stays what it was.

    Args:
        task: Knows batches and their loss.
        model: Nothing of it is trained in the block.
        rows: Some of those that it will be given.
        precision: Opens the context in which it computes.
    """
    take_back, against = unpadded.lend(task, model, rows, precision)
    stop = unpadded.nothing
    if against is None:
        stop, _ = lend(task, model, rows, precision, gradients=False)
    try:
        with unpadded.layers() if against is None else contextlib.nullcontext():
            yield
    finally:
        stop()
        take_back()


def lend(
    task: Task, model: Any, rows: Rows, precision: Precision, *, gradients: bool = True
) -> tuple[Callable[[], None], str | None]:
    """Let pairs of rows share what they begin with, or leave the model as it is and say why.

    Args:
        task: Knows batches and their loss; its batches hold rows two by two.
        model: Prepared by `unpadded.prepare`, not yet wrapped for several ranks.
        rows: The training rows.
        precision: Opens the context in which the loss is computed.
        gradients: Whether those are compared too: not where nothing will be trained.

    Returns:
        What takes it back, and the reason.
    """
    if not getattr(task, "share_prompt", False):
        return unpadded.nothing, "task.share_prompt is false"
    batch = to_device(task.collate(rows.fetch(unpadded.of_different_lengths(rows))), model)
    if not any(beginnings(batch["input_ids"], batch["attention_mask"])):
        return unpadded.nothing, "the rows of a pair do not begin alike"
    sharing = Sharing(model)
    against = unpadded.reason_against(task, model, batch, precision)
    if against is None and gradients:
        against = reason_by_gradients(task, model, batch, precision, sharing)
    if against is not None:
        sharing.remove()
    return sharing.remove, against


def reason_by_gradients(
    task: Task, model: nn.Module, batch: Batch, precision: Precision, sharing: Sharing
) -> str | None:
    """Return why gradients are not those without sharing, or None when they are."""
    was_training = model.training
    model.eval()
    try:
        found = gradient(task, model, batch, precision)
        sharing.remove()
        wanted = gradient(task, model, batch, precision)
    except RuntimeError as error:
        if is_out_of_memory(error):
            return "there was no memory to compare gradients"
        raise
    finally:
        model.train(was_training)
    sharing.install(model)
    size = max((float(one.norm()) for one in wanted if one is not None), default=0.0)
    limit = TOLERANCE.get(unpadded.computed_in(model, precision), HALF)
    for one, other in zip(found, wanted, strict=True):
        if one is None or other is None:
            continue
        apart = float((one - other).norm())
        if not apart <= limit * size:  # NaN is off as well
            return f"with it, a gradient is {apart / size:.1e} off"
    return None


def gradient(
    task: Task, model: nn.Module, batch: Batch, precision: Precision
) -> list[Tensor | None]:
    """Return the gradient of a batch's loss by each trained weight, leaving none behind."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with precision(), unpadded.layers():
        loss, _ = task.loss(model, batch)
        return list(torch.autograd.grad(loss, trained, allow_unused=True))
