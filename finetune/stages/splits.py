"""Write and read the splits in the run folder; later stages read nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.kinds import Audio, Image
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.tasks.base import Features, Row, Task

if TYPE_CHECKING:
    from finetune.data.augmentation.augmenter import Augmenter

SPLITS = ("train", "validation", "test")
BATCH = 1000
CACHED_BYTES = 1 << 30
"""Decoded pictures and sound are kept in memory up to this size, once decoded."""


def write(run: RunFolder, splits: dict[str, Any]) -> None:
    """Write each split as parquet."""
    import pyarrow.parquet as pq

    run.data.mkdir(parents=True, exist_ok=True)
    for name, dataset in splits.items():
        with storage.temporary_file(run.data / f"{name}.parquet") as temporary:
            pq.write_table(dataset.with_format("arrow")[:], temporary)


def read(run: RunFolder, split: str, *, max_rows: int | None = None) -> Any:
    """Return a split as a datasets.Dataset, its first rows only when so many are asked for."""
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    table = pq.read_table(run.data / f"{split}.parquet", memory_map=True)
    return Dataset(InMemoryTable(table.slice(0, max_rows) if max_rows else table))


def in_pieces(dataset: Any, size: int = BATCH) -> Iterator[list[Row]]:
    """Yield the rows of a dataset as lists of dicts, so many at a time."""
    for start in range(0, len(dataset), size):
        yield as_rows(dataset[start : start + size])


def as_rows(columns: dict[str, list[Any]]) -> list[Row]:
    """Return columns as rows."""
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def encoded_file(run: RunFolder, split: str) -> Path:
    """Return where the encoded rows of a split are kept."""
    return run.data / "encoded" / f"{split}.arrow"


def writing(
    run: RunFolder, split: str, pieces: Iterator[list[Features]]
) -> Iterator[list[Features]]:
    """Write features as an Arrow stream, which is later mapped and not read, and pass them on."""
    import pyarrow as pa

    first = next(pieces, None)
    if first is None:
        return
    table = pa.Table.from_pylist(first)
    with (
        storage.temporary_file(encoded_file(run, split)) as temporary,
        pa.ipc.new_stream(str(temporary), table.schema) as writer,
    ):
        writer.write_table(table)
        yield first
        for features in pieces:
            writer.write_table(pa.Table.from_pylist(features, schema=table.schema))
            yield features


def write_encoded(run: RunFolder, split: str, pieces: Iterator[list[Features]]) -> None:
    """Write features and pass them on to nobody; see `writing`."""
    for _ in writing(run, split, pieces):
        pass


class Fetcher:
    """Row numbers → features: from the encoded file, or made on the fly for pictures and sound.

    Args:
        task: Encodes rows.
        raw: The split.
        encoded: The encoded split; None encodes on the fly.
        augmenter: Changes training rows at each visit; None leaves them as they are.
    """

    def __init__(
        self, task: Task, raw: Any, encoded: Any | None, augmenter: Augmenter | None = None
    ) -> None:
        self.task, self.raw, self.encoded, self.augmenter = task, raw, encoded, augmenter
        self.cache: dict[int, Features] = {}
        self.bytes = 0

    def __call__(
        self, rows: Sequence[int], visits: Sequence[tuple[int, int]] = ()
    ) -> list[Features]:
        """Return the features of rows, in their order.

        Args:
            rows: Row numbers.
            visits: Epoch and repetition of each row, by which it is augmented; without them the
                rows are what they are.
        """
        if self.augmenter is not None and visits:
            keys = [(row, *visit) for row, visit in zip(rows, visits, strict=True)]
            changed = self.augmenter.rows(as_rows(self.raw[list(rows)]), keys)
            return self.augmenter.features(self.task.encode(changed), keys)
        if self.encoded is not None:
            return [dict(row) for row in as_rows(self.encoded[list(rows)])]
        missing = [row for row in rows if row not in self.cache]
        made = (
            dict(zip(missing, self.task.encode(as_rows(self.raw[missing])), strict=True))
            if missing
            else {}
        )
        found = [self.cache[row] if row in self.cache else made[row] for row in rows]
        if in_worker():
            return found
        for row, features in made.items():
            size = sum(getattr(value, "nbytes", 64) for value in features.values())
            if self.bytes + size <= CACHED_BYTES:
                self.cache[row] = features
                self.bytes += size
        return found


def in_worker() -> bool:
    """Tell whether this process makes batches and ends with the epoch, in which rows come once."""
    from torch.utils.data import get_worker_info

    return get_worker_info() is not None


class Carrying:
    """Row numbers → features that carry what is kept of a row's media, nothing decoded.

    Args:
        task: Encodes what is left of the rows.
        raw: The split.
        key: What features call what is kept.
        kept: Row number → its value.
    """

    def __init__(self, task: Task, raw: Any, key: str, kept: Callable[[int], Any]) -> None:
        left = raw.remove_columns([name for name in media(task) if name in raw.column_names])
        self.rest = Fetcher(task, left, None)
        self.key, self.kept = key, kept

    def __call__(self, rows: Sequence[int], visits: Sequence[Any] = ()) -> list[Features]:
        """Return the features of rows, in their order."""
        del visits
        found = self.rest(rows)
        return [
            {**features, self.key: self.kept(row)}
            for row, features in zip(rows, found, strict=True)
        ]


def media(task: Task) -> list[str]:
    """Return the columns of a task that hold pictures or sound."""
    return [name for name, kind in task.columns.items() if isinstance(kind, (Image, Audio))]


def fetcher(
    run: RunFolder, task: Task, split: str, raw: Any, augmenter: Augmenter | None = None
) -> Fetcher:
    """Return the fetcher of a split, which changes the rows of training when an augmenter does."""
    from datasets import Dataset

    file = encoded_file(run, split)
    encoded = Dataset.from_file(str(file)) if len(raw) and not task.lazy else None
    return Fetcher(task, raw, encoded, augmenter)
