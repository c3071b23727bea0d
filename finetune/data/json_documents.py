"""JSON documents: a list of objects, the only list of objects in an object, or SQuAD's nesting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids
from finetune.data.encodings import open_text
from finetune.data.json_lines import read_json_lines
from finetune.data.problems import Problems
from finetune.data.tables import table_of_rows
from finetune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CHARACTERS = 1 << 30
"""A document is parsed as a whole, which takes several times its size in memory."""
_LOOKED_AT = 1 << 16


def read_json(
    path: Path, name: str, encoding: str | None, problems: Problems, messages: list[str]
) -> tuple[pa.Table, ids.Ids]:
    """Read a JSON document; one object a line is recognised under this name, too.

    Args:
        path: The file.
        name: What the file is called in ids and errors.
        encoding: Text encoding; UTF-8 when None.
        problems: Where bad lines go, when it holds one object a line.
        messages: Grows by what was recognised.

    Raises:
        DataError: It is no JSON, or holds no list of objects.
    """
    with open_text(path, name, encoding) as text:
        is_lines = _one_object_a_line(text.read(_LOOKED_AT))
    document = None if is_lines else _document(path, name, encoding)
    if document is None:
        messages.append(f"`{name}` holds one JSON object a line: read as jsonl.")
        return read_json_lines(path, name, encoding, problems)
    rows = _questions(document)
    if rows is None:
        rows = _array(document, name)
    else:
        messages.append(f"`{name}` is nested as SQuAD: read as {len(rows):,} questions.")
    return table_of_rows(rows, name), ids.numbered(name, len(rows))


def _document(path: Path, name: str, encoding: str | None) -> Any:
    """Return the parsed document; None when it is several objects one after the other."""
    with open_text(path, name, encoding) as text:
        content = text.read(MAX_CHARACTERS + 1)
    if len(content) > MAX_CHARACTERS:
        raise DataError(
            f"`{name}` is one JSON document of more than {MAX_CHARACTERS:,} characters, which "
            "has to be held in memory as a whole.",
            fix="Write it as jsonl: one object a line.",
        )
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and content.lstrip().startswith("{"):
            return None
        raise DataError(
            f"`{name}` is not valid JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}.",
            fix="Correct that line.",
        ) from None
    except (RecursionError, ValueError):
        raise DataError(
            f"`{name}` is nested too deeply, or holds a number that is too long.",
            fix="Flatten it, or write the number as text.",
        ) from None


def _one_object_a_line(head: str) -> bool:
    """Tell whether the first line is an object and the next one, too."""
    filled = [line for line in head.splitlines() if line.strip()][:2]
    if len(filled) < 2 or not filled[1].lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(filled[0]), dict)
    except (ValueError, RecursionError):
        return False


def _questions(document: Any) -> list[dict[str, Any]] | None:
    """Flatten SQuAD's articles, paragraphs and questions; None when it is something else."""
    articles = document.get("data") if isinstance(document, dict) else None
    if not isinstance(articles, list) or not articles:
        return None
    rows = []
    for article in articles:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            return None
        for paragraph in paragraphs:
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            if not isinstance(questions, list) or "context" not in paragraph:
                return None
            for question in questions:
                if not isinstance(question, dict):
                    return None
                rows.append(_question(article, paragraph, question))
    return rows


def _question(
    article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]
) -> dict[str, Any]:
    answers = [item for item in question.get("answers") or [] if isinstance(item, dict)]
    return {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph["context"],
        "question": question.get("question"),
        "answers": {
            "text": [item.get("text") for item in answers],
            "answer_start": [item.get("answer_start") for item in answers],
        },
    }


def _array(content: Any, name: str) -> list[dict[str, Any]]:
    """Return the list of objects in a JSON document: itself, or the only list of objects in it."""
    if isinstance(content, dict):
        lists = [value for value in content.values() if _is_rows(value)]
        if len(lists) == 1:
            content = lists[0]
    if not isinstance(content, list):
        raise DataError(
            f"`{name}` is not a list of objects.",
            fix='Give a list such as [{"text": "…", "label": "…"}, …], or one object a line.',
        )
    for index, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"Item {index:,} of `{name}` is a {type(row).__name__} instead of an object.",
                fix="Make every item an object with the same names.",
            )
    return content


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
