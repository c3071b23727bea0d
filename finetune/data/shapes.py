"""Shapes of data sets: which canonical columns go together, and which shape a schema has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finetune.data import columns
from finetune.data.kinds import (
    Answers,
    Audio,
    Image,
    Kind,
    Label,
    Labels,
    Messages,
    Score,
    Tags,
    Text,
    Tokens,
)
from finetune.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "table"
SHAPES: dict[str, Mapping[str, Kind]] = {
    "token_classification": {"tokens": Tokens(), "tags": Tags()},
    "question_answering": {"question": Text(), "context": Text(), "answers": Answers()},
    "preference": {"prompt": Text(), "chosen": Text(), "rejected": Text()},
    "conversation": {"messages": Messages()},
    "text2text": {"source": Text(), "target": Text()},
    "image_classification": {"image": Image(), "label": Label()},
    "image_text": {"image": Image(), "text": Text()},
    "audio_classification": {"audio": Audio(), "label": Label()},
    "transcription": {"audio": Audio(), "text": Text()},
    "multi_label": {"text": Text(), "labels": Labels()},
    "regression": {"text": Text(), "text_pair": Text(required=False), "score": Score()},
    "classification": {"text": Text(), "label": Label()},
    TABLE: {},
}
"""Canonical columns of each shape, the most telling shapes first; a table has its own columns."""
_LISTS = {"tokens", "tags", "labels"}


def recognise(schema: pa.Schema, said: Mapping[str, str], name: str) -> str:
    """Return the shape whose required columns are all there, most of them by their own names.

    Args:
        schema: The source's schema.
        said: The user's `data.columns`; a shape that lacks one of them is not meant.
        name: What the source is called in errors.

    Raises:
        DataError: `said` fits no shape.
    """
    fitting = {
        shape: _exact(schema, kinds, said)
        for shape, kinds in SHAPES.items()
        if shape != TABLE and _fits(schema, kinds, said, name)
    }
    if fitting:
        # Columns that are called as we call them say more than names that may mean two things.
        return max(fitting, key=lambda shape: fitting[shape])
    # Says which column it is, if one that is said is not there.
    columns.resolve(schema, {key: Text(required=False) for key in said}, columns=said, name=name)
    if said:
        raise DataError(
            f"`data.columns` names {', '.join(f'`{key}`' for key in said)}, which together with "
            f"the columns of `{name}` make no shape that is known. {columns.described(schema)}",
            fix="Name the shape by task.shape; `python -m finetune list task` shows them.",
        )
    return TABLE


def _exact(schema: pa.Schema, kinds: Mapping[str, Kind], said: Mapping[str, str]) -> int:
    return sum(name in said or name in schema.names for name in kinds)


def _fits(schema: pa.Schema, kinds: Mapping[str, Kind], said: Mapping[str, str], name: str) -> bool:
    conversation = any(isinstance(kind, Messages) for kind in kinds.values())
    if not conversation and not set(said) <= set(kinds):
        return False
    try:
        found = columns.resolve(schema, kinds, columns=said, name=name)
    except (ConfigError, DataError):
        return False
    return all(
        _plausible(schema, canonical, source)
        for canonical, source in found.sources.items()
        if canonical not in said and not isinstance(kinds[canonical], Messages)
    )


def _plausible(schema: pa.Schema, canonical: str, source: str) -> bool:
    """Tell whether a column that was recognised by its name alone is of a type that fits."""
    import pyarrow as pa

    if canonical not in _LISTS or source not in schema.names:
        return True
    kind = schema.field(source).type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def table_columns(schema: pa.Schema) -> tuple[dict[str, Kind], dict[str, str]]:
    """Return every column of a table as text, and the source of each; `id` is ours.

    Returns:
        The kinds, and the source column of each.
    """
    sources = {("id_" if name == "id" else name): name for name in schema.names}
    return {name: Text(required=False) for name in sources}, sources
