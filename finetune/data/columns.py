"""Which of the user's columns is which canonical one: said by the user, or recognised and said.

`resolve` works on a schema alone and is pure; `pick` applies what it found to a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.data import conversations, preferences
from finetune.data.kinds import Kind, Messages, Text, Turns
from finetune.data.synonyms import synonyms
from finetune.data.tables import mixed
from finetune.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass
class ColumnMap:
    """What was found: canonical column → source, and what to tell the user about it.

    Args:
        sources: Column name, dotted field or template of each canonical column. Messages made of
            several columns have one source for each part, as ``prompt + completion``.
        parts: For a Messages column: which source is which part of the conversation.
        keep: Further columns.
        messages: What was recognised without being told.
    """

    sources: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)


def resolve(
    schema: pa.Schema,
    kinds: Mapping[str, Kind],
    *,
    columns: Mapping[str, str],
    keep: Sequence[str] = (),
    name: str,
) -> ColumnMap:
    """Find the source of each canonical column.

    Args:
        schema: The source's schema.
        kinds: The task's canonical columns.
        columns: What the user said: canonical → column, dotted field or template.
        keep: Further columns to carry along.
        name: What the source is called in errors.

    Raises:
        ConfigError: `columns` names a canonical column that the task doesn't have.
        DataError: A source is not there, or a canonical column was neither said nor recognised.
    """
    _check_keys(columns, kinds)
    found = ColumnMap(keep=tuple(item for item in keep if item not in kinds))
    for canonical, source in columns.items():
        for named in names_in(source):
            if not exists(schema, named):
                raise DataError(
                    f"`data.columns.{canonical}` names `{named}`, which `{name}` does not have"
                    f"{did_you_mean(named, schema.names) or '.'} {described(schema)}",
                    fix=f"Set data.columns.{canonical} to one of them.",
                )
        if canonical in kinds:
            found.sources[canonical] = source
    for canonical, kind in kinds.items():
        if isinstance(kind, Messages):
            parts = conversations.find_parts(schema, columns, canonical)
            if parts:
                found.parts[canonical] = parts
                found.sources[canonical] = " + ".join(parts.values())
                _tell(found, canonical, parts, columns)
    _recognise(schema, kinds, found)
    if beginning := preferences.source_of_prompt(kinds, found.sources):
        found.sources["prompt"] = beginning
        found.messages.append("`prompt` was taken from what `chosen` and `rejected` begin with.")
    for canonical, kind in kinds.items():
        if canonical not in found.sources and kind.required:
            raise _not_found(schema, canonical, kind, name)
    for column in found.keep:
        if column == "id":
            raise ConfigError("`data.keep` names `id`, which is ours.", fix="Rename that column.")
        if not exists(schema, column):
            raise DataError(
                f"`{name}` has no column `{column}`, which is to be kept"
                f"{did_you_mean(column, schema.names) or '.'} {described(schema)}",
                fix="Correct data.keep, data.split.group_by or evaluate.slices.",
            )
    return found


def pick(table: pa.Table, found: ColumnMap, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Return the raw Arrow column of each canonical column, not yet checked or converted."""
    picked: dict[str, Any] = {}
    for canonical, source in found.sources.items():
        if isinstance(kinds[canonical], Messages):
            parts = {
                part: column_of(table, column) for part, column in found.parts[canonical].items()
            }
            picked[canonical] = parts
        else:
            picked[canonical] = column_of(table, source)
    return picked


def column_of(table: pa.Table, source: str) -> Any:
    """Return a column, a nested field or a filled template as an Arrow column or a Python list.

    A list means that the values have no common type.
    """
    import pyarrow as pa

    if is_template(source):
        return pa.chunked_array([pa.array(_fill(table, source), pa.string())])
    if source in table.column_names:
        if mixed(table.schema.field(source)):
            return [text and json.loads(text) for text in table[source].to_pylist()]
        return table[source]
    head, rest = _head_and_path(table.schema, source)
    values = column_of(table, head)
    values = values if isinstance(values, list) else values.to_pylist()
    return [_walk(value, rest) for value in values]


def is_template(source: str) -> bool:
    """Tell whether a source is a template, such as ``{title} {body}``."""
    return bool(_FIELD.search(source))


def names_in(source: str) -> list[str]:
    """Return the column names that a source uses."""
    return _FIELD.findall(source) if is_template(source) else [source]


def exists(schema: pa.Schema, source: str) -> bool:
    """Tell whether a column or dotted field is there, as far as the schema can tell."""
    import pyarrow as pa

    if source in schema.names:
        return True
    try:
        head, path = _head_and_path(schema, source)
    except KeyError:
        return False
    node = schema.field(head)
    if mixed(node):
        return True
    kind = node.type
    for step in path:
        if pa.types.is_struct(kind) and kind.get_field_index(step) >= 0:
            kind = kind.field(step).type
        elif (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and step.isdigit():
            kind = kind.value_type
        else:
            return False
    return bool(path)


def described(schema: pa.Schema) -> str:
    """List the columns that are there, with their types; never a value."""
    listed = ", ".join(f"`{node.name}` ({_type_name(node)})" for node in list(schema)[:20])
    more = f" and {len(schema) - 20} more" if len(schema) > 20 else ""
    return f"Its columns are {listed}{more}."


def _type_name(node: pa.Field) -> str:
    import pyarrow as pa

    if mixed(node):
        return "values of several types"
    kind = node.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(child.name for child in kind) + "}"
    if pa.types.is_list(kind):
        return f"list of {_type_name(kind.value_field)}"
    return str(kind)


def _check_keys(columns: Mapping[str, str], kinds: Mapping[str, Kind]) -> None:
    known = list(kinds)
    if any(isinstance(kind, Messages) for kind in kinds.values()):
        known += [part for part in conversations.PARTS if part not in known]
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ConfigError(
            [
                f"`data.columns.{key}` is not in this task{did_you_mean(key, known) or '.'}"
                for key in unknown
            ],
            fix=f"The task's columns are {', '.join(f'`{name}`' for name in known)}.",
        )


def _tell(
    found: ColumnMap, canonical: str, parts: Mapping[str, str], columns: Mapping[str, str]
) -> None:
    guessed = {part: source for part, source in parts.items() if columns.get(part) != source}
    if guessed and guessed != {canonical: canonical}:
        shown = ", ".join(f"{part} from `{source}`" for part, source in guessed.items())
        found.messages.append(f"`{canonical}` was recognised: {shown}.")


def _recognise(schema: pa.Schema, kinds: Mapping[str, Kind], found: ColumnMap) -> None:
    """Fill in what the user left open: same names first, so that no synonym takes them."""
    simple = {spell(name): name for name in reversed(schema.names)}
    taken = {name for source in found.sources.values() for name in names_in(source)}
    open_ = [name for name in kinds if name not in found.sources and name not in found.parts]
    for canonical in [name for name in open_ if name in schema.names and name not in taken]:
        found.sources[canonical] = canonical
        taken.add(canonical)
    pair = _translation(schema) if {"source", "target"} <= set(open_) - set(found.sources) else None
    if pair:
        found.sources["source"], found.sources["target"] = pair
        found.messages.append(
            f"`source` was taken from `{pair[0]}` and `target` from `{pair[1]}`; turn them round "
            "with data.columns.source and data.columns.target."
        )
    for canonical in open_:
        if canonical in found.sources or isinstance(kinds[canonical], Messages):
            continue
        for candidate in (canonical, *synonyms(canonical, kinds)):
            column = simple.get(spell(candidate))
            if column is not None and column not in taken:
                found.sources[canonical] = column
                taken.add(column)
                found.messages.append(f"`{canonical}` was recognised in the column `{column}`.")
                break


def _translation(schema: pa.Schema) -> tuple[str, str] | None:
    import pyarrow as pa

    if "translation" not in schema.names:
        return None
    kind = schema.field("translation").type
    if not pa.types.is_struct(kind) or kind.num_fields != 2:
        return None
    first, second = (kind.field(index).name for index in range(2))
    return f"translation.{first}", f"translation.{second}"


def _not_found(schema: pa.Schema, canonical: str, kind: Kind, name: str) -> DataError:
    if isinstance(kind, Messages):
        return DataError(
            f"No conversation was found in `{name}`. {described(schema)}",
            fix="Set data.columns.prompt and data.columns.completion, or data.columns.messages.",
        )
    example = "NAME_OR_TEMPLATE" if isinstance(kind, Text | Turns) else "NAME"
    return DataError(
        f"No column for `{canonical}` was found in `{name}`. {described(schema)}",
        fix=f"Say which it is: data.columns.{canonical}={example}.",
    )


def spell(name: str) -> str:
    """Return a name as people mean it: ``Review Text`` and ``review_text`` are one."""
    return re.sub(r"[\s_\-]+", "_", name.strip().lower())


def _head_and_path(schema: pa.Schema, source: str) -> tuple[str, list[str]]:
    """Cut a dotted source after the longest prefix that is a column."""
    steps = source.split(".")
    for cut in range(len(steps) - 1, 0, -1):
        head = ".".join(steps[:cut])
        if head in schema.names:
            return head, steps[cut:]
    raise KeyError(source)


def _walk(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def _fill(table: pa.Table, template: str) -> list[str | None]:
    """Fill a template for each row; null where all of its fields are missing."""
    # A shell or YAML hands `\n` over as two characters; nobody means those in a template.
    template = template.replace("\\n", "\n").replace("\\t", "\t")
    names = names_in(template)
    pieces = _FIELD.split(template)[::2]
    values = []
    for name in names:
        column = column_of(table, name)
        values.append(column if isinstance(column, list) else column.to_pylist())
    filled: list[str | None] = []
    for row in zip(*values, strict=True):
        texts = ["" if value is None else str(value) for value in row]
        if not any(text.strip() for text in texts):
            filled.append(None)
            continue
        joined = pieces[0] + "".join(a + b for a, b in zip(texts, pieces[1:], strict=True))
        filled.append(joined)
    return filled


def kept(table: pa.Table, source: str) -> Any:
    """Return a column to carry along; values without a common type as their JSON spelling."""
    import pyarrow as pa

    if source in table.column_names:
        return table[source]
    values = column_of(table, source)
    if not isinstance(values, list):
        return values
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, TypeError, ValueError):
        spelt = [None if value is None else json.dumps(value, default=str) for value in values]
        return pa.chunked_array([pa.array(spelt, pa.string())])
