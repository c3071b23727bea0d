"""What a frozen part makes of rows, and how training takes it from there: towers and layers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.stages import keeping, splits

if TYPE_CHECKING:
    from torch import nn

    from finetune.tasks.base import Batch
    from finetune.training.kept import Kept, Named
    from finetune.training.prefixes import Prefix
    from finetune.training.rows import Rows
    from finetune.training.towers import Tower
    from finetune.training.trainer import TaskTrainer

CPU_PLACES = 3000
"""Places that a CPU computes at once: Whisper's encoder is 1.18 times as fast with 2 recordings of
1,500 as with 16."""


class TowerPart:
    """A tower that sees pictures or sound: batches carry what it makes of them.

    Args:
        trainer: Whose model it is part of.
        tower: Itself.
    """

    def __init__(self, trainer: TaskTrainer, tower: Tower) -> None:
        self.trainer, self.tower, self.name = trainer, tower, tower.name
        self.tolerance = tolerance(trainer)

    @classmethod
    def find(cls, trainer: TaskTrainer) -> TowerPart | str:
        """Return the tower of a trainer's model, or why there is none to keep."""
        from finetune.training import towers

        found = towers.find(
            trainer.task,
            trainer.model,
            batch_of(trainer, [0, 1]),
            trainer.compute_loss_context_manager,
        )
        return found if isinstance(found, str) else cls(trainer, found)

    def size(self, rows: Rows) -> int:
        """Return the bytes of what it makes of rows."""
        return len(rows) * math.prod(self.tower.shape) * int(self.tower.dtype.itemsize)

    @property
    def at_once(self) -> int:
        """Rows that a tower is given in one call: of long ones few, on a CPU, for its cache."""
        places = self.tower.shape[0] if len(self.tower.shape) > 1 else 1
        on_cpu = self.trainer.args.device.type == "cpu"
        return max(1, CPU_PLACES // places) if on_cpu else len(self.trainer.train_rows)

    def identity(self) -> list[Any]:
        """Return what an entry is named by."""
        tower = self.tower
        told = [tower.name, tower.part, list(tower.shape), str(tower.dtype)]
        return [*told, *computed_in(self.trainer), weights_hash([tower.module])]

    def computed(self, rows: Rows, numbers: Sequence[int]) -> list[Named]:
        """Return what it makes of some rows; pictures and sound are decoded and not kept."""
        import torch

        task = self.trainer.task
        features = task.encode(splits.as_rows(rows.raw[list(numbers)]))
        value = task.collate(features)[self.tower.key].to(self.trainer.args.device)
        was_training = self.tower.module.training
        self.tower.module.eval()
        with self.trainer.compute_loss_context_manager():
            states = torch.cat([self.tower.states(part) for part in value.split(self.at_once)])
        self.tower.module.train(was_training)
        return [(b"", row) for row in states.cpu().split(1)]

    def series(self, rows: Rows, blocks: Iterable[Sequence[int]]) -> Iterator[list[Named]]:
        """Yield what it makes of blocks of rows: one after the other, as a device computes."""
        return (self.computed(rows, numbers) if numbers else [] for numbers in blocks)

    def use(self, rows: Mapping[str, Rows], found: Mapping[str, Kept]) -> None:
        """Let rows carry what is kept of them."""
        self.tower.install()
        carried = {split: functools.partial(states, kept) for split, kept in found.items()}
        keeping.carry(self.trainer, self.tower.key, rows, carried)

    def leave(self) -> None:
        """Leave the model as it is: the tower was not touched."""


class PrefixPart:
    """The first layers of a model of texts: states are looked up by a text's tokens.

    Args:
        trainer: Whose model it is part of.
        prefix: Itself.
    """

    width: float
    """Bytes kept for each unit of a row's length: a pair is two texts, a source has a target."""

    def __init__(self, trainer: TaskTrainer, prefix: Prefix) -> None:
        self.trainer, self.prefix, self.name = trainer, prefix, prefix.name
        self.tolerance = tolerance(trainer)
        prefix.install()

    @classmethod
    def find(cls, trainer: TaskTrainer) -> PrefixPart | str:
        """Return the frozen layers of a trainer's model, or why there are none to keep."""
        from finetune.training import prefix_search
        from finetune.training.unpadded import of_different_lengths

        chosen = of_different_lengths(trainer.train_rows)
        chosen = chosen if len(chosen) > 1 else [0, 1]
        batch = batch_of(trainer, chosen)
        precision = trainer.compute_loss_context_manager
        found = prefix_search.find(trainer.task, trainer.model, batch, precision)
        if isinstance(found, str):
            return found
        part = cls(trainer, found)
        made = part.computed(trainer.train_rows, chosen)
        bytes_made = sum(row.numel() * row.dtype.itemsize for _, row in made)
        part.width = bytes_made / sum(trainer.train_rows.lengths[row] for row in chosen)
        return part

    def size(self, rows: Rows) -> int:
        """Return the bytes of what they make of rows, about."""
        return int(sum(rows.lengths) * self.width)

    def identity(self) -> list[Any]:
        """Return what an entry is named by."""
        from finetune.training.prefix_search import below

        modules = [*below(self.prefix), *self.prefix.layers]
        return [self.name, *computed_in(self.trainer), weights_hash(modules)]

    def computed(self, rows: Rows, numbers: Sequence[int]) -> list[Named]:
        """Return what they make of some rows, each under the hash of its tokens."""
        trainer = self.trainer
        with trainer.compute_loss_context_manager():
            made = self.prefix.states(trainer.task, trainer.model, batch_of(trainer, numbers, rows))
        return [(key, row.cpu()) for key, row in made]

    def series(self, rows: Rows, blocks: Iterable[Sequence[int]]) -> Iterator[list[Named]]:
        """Yield what they make of blocks of rows: one after the other, as a device computes."""
        return (self.computed(rows, numbers) if numbers else [] for numbers in blocks)

    def use(self, rows: Mapping[str, Rows], found: Mapping[str, Kept]) -> None:
        """Let the layers give what is kept, wherever a loss is computed."""
        del rows
        self.prefix.known = {
            name: functools.partial(kept.row, number)
            for kept in found.values()
            for number, name in enumerate(kept.names)
        }
        inner = self.trainer.without_padding

        @contextlib.contextmanager
        def sparing() -> Iterator[None]:
            with inner(), self.prefix.sparing():
                yield

        self.trainer.without_padding = sparing

    def leave(self) -> None:
        """Leave the layers as they were."""
        self.prefix.remove()


def batch_of(trainer: TaskTrainer, numbers: Sequence[int], rows: Rows | None = None) -> Batch:
    """Return a batch of some rows where the model is."""
    features = (rows or trainer.train_rows).fetch(list(numbers))
    made = trainer.task.collate(features)
    return {key: value.to(trainer.args.device) for key, value in made.items()}


def states(kept: Kept, number: int) -> Any:
    """Return what is kept of a row as a batch carries it: in fp32, which holds every half."""
    return kept.row(number).float().numpy()


def tolerance(trainer: TaskTrainer) -> float:
    """Return how far states may be from those of the same row, relative to their size."""
    from finetune.training.towers import TOLERANCE

    return TOLERANCE if trainer.precision == "fp32" else 3e-2


def computed_in(trainer: TaskTrainer) -> list[str]:
    """Return where a trainer computes and how exactly."""
    return [trainer.precision, trainer.args.device.type]


def weights_hash(modules: Sequence[nn.Module]) -> str:
    """Return a hash of modules' configuration and weights, those of quantised ones included."""
    import torch

    digest = hashlib.sha256()
    for module in modules:
        digest.update(repr(module).encode() + repr(getattr(module, "config", None)).encode())
        for name, value in module.state_dict().items():
            if isinstance(value, torch.Tensor):
                digest.update(name.encode())
                raw = value.detach().cpu().contiguous().flatten()
                digest.update(raw.view(torch.uint8).numpy())
    return digest.hexdigest()
