"""What encoding makes of pictures and sound, kept between epochs and runs where it is worth it."""

from __future__ import annotations

import functools
import itertools
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.errors import StorageError
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, environment, keeping, processors, splits

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.tasks.base import Features
    from finetune.training.kept import Kept, Named
    from finetune.training.rows import Rows
    from finetune.training.trainer import TaskTrainer

TIMED = 5
"""Rows whose making and reading are measured, after one that is not."""
SLOWER = 3.0
"""Times that making a row takes as long as reading it, from which it is kept."""
LEAST = 2.0
"""Seconds that making all rows takes, below which they are made."""
TOLD = 10.0
"""Seconds from which it is said beforehand how long that takes."""
THREADS = 4
"""Most that make features at once; decoders run outside of the interpreter's lock."""
PACKAGES = ("pillow", "numpy", "soundfile", "soxr", "torchvision", "torchaudio")
"""Beside ours, whose versions decide what is made of a picture or a recording."""


def keep(run: RunFolder, config: RunConfig, trainer: TaskTrainer) -> dict[str, Any]:
    """Let batches carry what was made of pictures and sound; or say why it is made each time."""
    from finetune.stages.train import quiet_transformers
    from finetune.training import ranks

    against, part = reason_against(config, trainer), None
    if against is None:
        with quiet_transformers():
            found = FeaturesPart.find(trainer)
        reasons = ranks.gathered(found if isinstance(found, str) else None, trainer.args.world_size)
        against = next((reason for reason in reasons if reason is not None), None)
        part = None if isinstance(found, str) else found
    if against is None and part is not None:
        rows = keeping.splits_of(trainer)
        kept = keeping.all_kept(run, config, trainer, part, rows)
        if not isinstance(kept, str):
            part.use(rows, kept)
            return {"features_kept": part.facts(kept, trainer), "features_because": None}
        against = kept
    return {"features_kept": None, "features_because": against}


def reason_against(config: RunConfig, trainer: TaskTrainer) -> str | None:
    """Return why nothing is kept, as far as settings and rows tell."""
    if not config.train.features_cache:
        return "train.features_cache is false"
    if not trainer.task.lazy:
        return "texts are tokenised before training"
    if isinstance(trainer.train_rows.fetch, splits.Carrying):
        return "what the frozen part makes of them is kept instead"
    if augmentation.augmenter(config) is not None:
        return "rows are changed each time that they are met"
    if keeping.times_met(trainer) < keeping.WORTH:
        return "each row is met about once"
    return None


class FeaturesPart:
    """The preparation of pictures or sound: decoding, cutting, scaling, spectrograms.

    Args:
        trainer: Whose rows are prepared.
        key: What features call what is made.
        row: What is made of one row.
        making: Seconds that it takes.
        because: Why it is kept.
    """

    tolerance = 0.0

    def __init__(
        self, trainer: TaskTrainer, key: str, row: Tensor, making: float, because: str
    ) -> None:
        self.trainer, self.name, self.making, self.because = trainer, key, making, because
        self.bytes: int = row.numel() * row.dtype.itemsize
        self.threads = min(THREADS, processors.threads() or processors.allowed())

    @classmethod
    def find(cls, trainer: TaskTrainer) -> FeaturesPart | str:
        """Return what prepares a trainer's rows, or why what it makes is not kept."""
        task, raw = trainer.task, trainer.train_rows.raw
        chosen = splits.as_rows(raw[spread(len(raw), TIMED + 1)])
        media = splits.media(task)
        left = [{name: row[name] for name in row if name not in media} for row in chosen]
        try:
            timed = [seconds(functools.partial(task.encode, [row])) for row in chosen]
            rest = task.encode(left)
        except Exception:  # of a task that was not written for it
            return "the task does not encode what is left of a row without them"
        made = [features for _, (features,) in timed]
        key = only_key(made, rest)
        if key is None:
            return "they become more than one kind of model input, or others change with them"
        tensors = [tensor(features[key]) for features in made]
        if isinstance(tensors[0], str):
            return tensors[0]
        making = statistics.median([taken for taken, _ in timed[1:] or timed])
        if making * len(raw) < LEAST:
            return f"all rows are made in {making * len(raw):.1f} s"
        try:
            reading = time_to_read(tensors)
        except (OSError, StorageError):
            return f"nothing can be written to {keeping.folder()}"
        because = f"a row is made in {told(making)} and read in {told(reading)}"
        if making < SLOWER * reading:
            return because
        return cls(trainer, key, tensors[0], making, because)

    def size(self, rows: Rows) -> int:
        """Return the bytes of what is made of rows, about."""
        return len(rows) * self.bytes

    def identity(self) -> list[Any]:
        """Return what an entry is named by."""
        versions = [environment.version(name) for name in PACKAGES]
        return ["features", self.name, repr(self.trainer.task), environment.processor(), *versions]

    def computed(self, rows: Rows, numbers: Sequence[int]) -> list[Named]:
        """Return what is made of some rows."""
        chosen = splits.as_rows(rows.raw[list(numbers)]) if len(numbers) else []
        made = self.trainer.task.encode(chosen) if chosen else []
        return [(b"", as_tensor(features[self.name])) for features in made]

    def series(self, rows: Rows, blocks: Iterable[Sequence[int]]) -> Iterator[list[Named]]:
        """Yield what is made of blocks of rows, in their order, a few of them at once."""
        waiting, computed = iter(blocks), functools.partial(self.computed, rows)
        takes = self.making * len(rows) / self.threads / self.trainer.args.world_size
        if takes > TOLD and self.trainer.args.process_index == 0:
            sys.stderr.write(
                f"   `{self.name}` of {len(rows):,} rows is made and kept, in about {takes:.0f} s\n"
            )
        with ThreadPoolExecutor(self.threads) as pool:
            while few := list(itertools.islice(waiting, self.threads)):
                yield from pool.map(computed, few)

    def use(self, rows: Mapping[str, Rows], found: Mapping[str, Kept]) -> None:
        """Let rows carry what is kept of them."""
        carried = {split: functools.partial(value, kept) for split, kept in found.items()}
        keeping.carry(self.trainer, self.name, rows, carried)

    def facts(self, found: Mapping[str, Kept], trainer: TaskTrainer) -> dict[str, Any]:
        """Return what the manifest says, having said it."""
        total = sum(kept.bytes for kept in found.values())
        if trainer.args.process_index == 0:
            sys.stderr.write(
                f"   `{self.name}` of each row is made once, not in each epoch "
                f"({keeping.told(total)} kept: {self.because}; "
                "train.features_cache=false makes it each time)\n"
            )
        return {"input": self.name, "bytes": total, "measured": self.because}


def value(kept: Kept, number: int) -> Any:
    """Return what is kept of a row as encoding gives it."""
    return kept.row(number).numpy()


def spread(count: int, wanted: int) -> list[int]:
    """Return so many numbers below a count, evenly spread."""
    step = max(1, count // wanted)
    return list(range(0, count, step))[:wanted]


def seconds(make: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something takes, and what it gives."""
    start = time.perf_counter()
    made = make()
    return time.perf_counter() - start, made


def only_key(made: Sequence[Features], rest: Sequence[Features]) -> str | None:
    """Return the one model input that comes of pictures and sound, None where it isn't just one."""
    import numpy as np

    found = {key for features in made for key in features} - {key for item in rest for key in item}
    same = all(
        np.array_equal(np.asarray(features.get(key)), item[key])
        for features, item in zip(made, rest, strict=True)
        for key in item
    )
    return found.pop() if same and len(found) == 1 else None


def tensor(value: Any) -> Tensor | str:
    """Return a value as a tensor, or why it cannot be kept as one."""
    from finetune.training import kept

    try:
        found = as_tensor(value)
    except (TypeError, ValueError):
        return "they become what is no array of numbers"
    storable = found.dtype in kept.STORED and found.dim() <= kept.DIMENSIONS
    return found if storable else f"they become numbers of the type {found.dtype}"


def as_tensor(value: Any) -> Tensor:
    """Return an array of numbers as a tensor, to the bit."""
    import numpy as np
    import torch

    return torch.from_numpy(np.ascontiguousarray(value))


def time_to_read(rows: Sequence[Tensor]) -> float:
    """Return how long reading a row back takes, where it would be kept, and from the disk itself.

    Raises:
        StorageError: Nothing can be written there.
    """
    from finetune.training import kept

    place = keeping.folder() / f"trial-{uuid.uuid4().hex}"
    try:
        found = kept.write(place, [[(b"", row) for row in rows]], needed=0, facts={})
        kept.forget(found)
        taken = [seconds(functools.partial(found.row, number))[0] for number in range(len(rows))]
    finally:
        storage.remove_tree(place)
    return statistics.median(taken[1:] or taken)


def told(taken: float) -> str:
    """Return a time in words."""
    return f"{taken * 1e3:.3g} ms"
