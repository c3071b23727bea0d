"""The frozen layers below the first trained one: what they make of a text is kept, not computed.

A text gives the same states in every epoch as long as nothing below is trained and nothing is
dropped. Its states behind the last frozen layer are kept under the hash of its tokens, so that
neither shuffling nor the way batches are cut matters; where every row of a batch is known, the
frozen layers hand on what came in, and the last of them gives the states of before.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from finetune.tasks.base import Batch, Task
from finetune.training.segments import Segments
from finetune.training.towers import outcome
from finetune.training.unpadded import given

if TYPE_CHECKING:
    from torch import Tensor, nn

Known = Mapping[bytes, Callable[[], "Tensor"]]
"""Hash of a row's tokens → its states, shape (tokens, width)."""

IDS, MASK = "input_ids", "attention_mask"


class Found(Exception):  # noqa: N818 - ends a forward pass at what was looked for
    """The states behind the frozen layers are there; what follows need not be computed."""


class Prefix:
    """The first layers of a stack, none of them trained.

    Args:
        name: The stack's place in the model.
        host: The module around it that is given tokens.
        layers: The frozen layers, first to last.
    """

    def __init__(self, name: str, host: nn.Module, layers: Sequence[nn.Module]) -> None:
        self.name, self.host, self.layers = f"{name}[:{len(layers)}]", host, list(layers)
        self.known: Known = {}
        self.is_on = False
        self.keys: list[bytes] | None = None
        self.mask: Tensor | None = None
        self.catch: list[tuple[bytes, Tensor]] | None = None
        """Where states are put while they are computed to be kept."""
        self.used = 0
        """Batches whose frozen layers were spared."""

    # -- what a batch is known by --------------------------------------------------------------

    def enter(self, host: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take the hashes of a batch's rows, before the host runs."""
        del host
        self.keys = None
        if not self.is_on and self.catch is None:
            return
        named = {**dict(zip(parameters(self.host), args, strict=False)), **kwargs}
        self.keys = keys_of(named)
        if self.keys is None:
            return
        ids = named[IDS]
        mask = named.get(MASK)
        self.mask = torch.ones_like(ids).bool() if mask is None else mask.bool()
        if self.catch is None and not all(key in self.known for key in self.keys):
            self.keys = None
        self.used += self.catch is None and self.keys is not None

    def leave(self, *args: Any) -> None:
        """Forget the batch."""
        del args
        self.keys = self.mask = None

    # -- in place of the layers ----------------------------------------------------------------

    def install(self) -> None:
        """Let the layers hand on what is known."""
        self.hooks = [
            self.host.register_forward_pre_hook(self.enter, with_kwargs=True),
            self.host.register_forward_hook(self.leave, always_call=True),
        ]
        for number, layer in enumerate(self.layers):
            layer.forward = self._instead_of(layer, last=number == len(self.layers) - 1)

    def remove(self) -> None:
        """Undo `install`."""
        for hook in self.hooks:
            hook.remove()
        for layer in self.layers:
            del layer.forward

    def _instead_of(self, layer: nn.Module, *, last: bool) -> Callable[..., Any]:
        compute = layer.forward
        others: list[None] = []
        """Of what the layer returns beside its states, in a tuple."""
        is_tuple: list[bool] = []

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self.keys is None or self.catch is not None:
                output = compute(*args, **kwargs)
                if isinstance(output, tuple):
                    is_tuple[:], others[:] = [True], [None] * (len(output) - 1)
                if last and self.catch is not None and self.keys is not None:
                    self._keep(layer, args, kwargs, output)
                return output
            states = next(iter(given(layer, args, kwargs).values()))
            if last:
                states = self._recalled(states, given(layer, args, kwargs).get(MASK))
            return (states, *others) if is_tuple else states

        return forward

    def _keep(self, layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        segments = given(layer, args, kwargs).get(MASK)
        if isinstance(segments, Segments) and states.shape[:2] == (1, segments.tokens):
            states = segments.rectangle(states)
        assert self.keys is not None
        assert self.mask is not None
        assert self.catch is not None
        for key, row, real in zip(self.keys, states, self.mask, strict=True):
            self.catch.append((key, row[real].detach()))
        raise Found

    def _recalled(self, states: Tensor, segments: Any) -> Tensor:
        """Return the kept states in the shape in which the layers hand theirs on."""
        assert self.keys is not None
        assert self.mask is not None
        rows = torch.cat([self.known[key]() for key in self.keys]).to(states.device, states.dtype)
        whole = rows.new_zeros((*self.mask.shape, rows.shape[-1]))
        whole[self.mask] = rows
        if isinstance(segments, Segments) and states.shape[:2] == (1, segments.tokens):
            whole = segments.flat(whole)
        return whole

    # -- in use --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sparing(self) -> Iterator[None]:
        """Spare the frozen layers in the block, where all rows of a batch are known."""
        before, self.is_on = self.is_on, True
        try:
            yield
        finally:
            self.is_on = before

    def states(self, task: Task, model: nn.Module, batch: Batch) -> list[tuple[bytes, Tensor]]:
        """Return the hash of each row of a batch with its states, shape (tokens, width)."""
        self.catch, before = [], model.training
        model.eval()
        try:
            with torch.no_grad(), contextlib.suppress(Found):
                outcome(task, model, batch)
            return self.catch
        finally:
            self.catch, self.keys = None, None
            model.train(before)


def parameters(module: nn.Module) -> list[str]:
    """Return the names of the arguments of a module's `forward`, as its class has it."""
    return list(inspect.signature(type(module).forward).parameters)[1:]


def keys_of(named: Mapping[str, Any]) -> list[bytes] | None:
    """Return a hash for each row of what a model is given; None where it is more than tokens.

    Padding takes no part: a row has one hash, whatever rows are beside it.
    """
    ids, mask = named.get(IDS), named.get(MASK)
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2:
        return None
    if named.get("past_key_values") is not None:
        return None
    tensors = {k: v for k, v in named.items() if isinstance(v, torch.Tensor) and k != MASK}
    if any(value.shape != ids.shape for value in tensors.values()):
        return None
    if mask is not None and (not isinstance(mask, torch.Tensor) or mask.shape != ids.shape):
        return None
    real = torch.ones_like(ids).bool().cpu() if mask is None else mask.bool().cpu()
    values = torch.stack([tensors[name].cpu().long() for name in sorted(tensors)], dim=-1)
    names = ",".join(sorted(tensors)).encode()
    return [
        hashlib.blake2b(names + row[own].numpy().tobytes(), digest_size=16).digest()
        for row, own in zip(values, real, strict=True)
    ]
