"""SQL databases: one table or one SELECT, read in a transaction that changes nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import ids
from finetune.data.tables import BATCH_ROWS, table_of_batches
from finetune.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = re.compile(r"\s*\(*\s*(select|with|values)\b", re.IGNORECASE)
_WRITES = re.compile(
    r"\b(insert|update|delete|drop|alter|create|attach|pragma|merge|truncate|grant|into)\b", re.I
)
_READ_ONLY: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "mysql": {"isolation_level": "REPEATABLE READ"},
    "mariadb": {"isolation_level": "REPEATABLE READ"},
}
"""Snapshots, because the types of all rows may take a second look, and no right to write."""


def is_url(text: str) -> bool:
    """Tell whether a path is the URL of a database that SQLAlchemy has a dialect for."""
    from sqlalchemy.dialects import registry
    from sqlalchemy.exc import NoSuchModuleError

    scheme, separator, _ = text.partition("://")
    if not separator or not re.fullmatch(r"\w+(\+\w+)?", scheme):
        return False
    try:
        registry.load(scheme.replace("+", "."))
    except NoSuchModuleError:
        return "+" in scheme and is_url(text.partition("+")[0] + "://")
    except ImportError:
        return True
    return True


def shown(url: str) -> str:
    """Return what a database is called in ids and errors: no password, no user, no options."""
    head, _, rest = url.partition("://")
    place = rest.split("?")[0].rpartition("@")[2].rstrip("/")
    return place.rpartition("/")[2] or place or head


def read_database(place: str | Path, query: str | None) -> tuple[pa.Table, ids.Ids, str]:
    """Read the rows of a query, or of the only table.

    Args:
        place: A URL, or the path of an SQLite file.
        query: One SELECT; may be None when there is one table.

    Returns:
        The rows, their ids, and what the rows are called.

    Raises:
        ConfigError: The query is not a single SELECT.
        DataError: The database cannot be reached or read.
    """
    from sqlalchemy.exc import SQLAlchemyError

    if query is not None:
        _check(query)
    name = place.name if isinstance(place, Path) else shown(place)
    try:
        with _connection(place, name) as connection:
            if query is None:
                table = _only_table(connection, name)
                quoted = connection.dialect.identifier_preparer.quote(table)
                query, name = f"SELECT * FROM {quoted}", f"{name}/{table}"
            rows = table_of_batches(lambda: _batches(connection, query, name))
    except SQLAlchemyError as error:
        raise DataError(
            f"`{name}` cannot be read: {_reason(error, place)}.",
            fix="Check data.path and data.query.",
        ) from None
    return rows, ids.numbered(name, rows.num_rows), name


@contextmanager
def _connection(place: str | Path, name: str) -> Iterator[Any]:
    import sqlalchemy

    try:
        url = _url(place, name)
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    except ModuleNotFoundError as error:
        raise DataError(
            f"`{name}` needs the Python package `{error.name}`, which is not installed.",
            fix=f"pip install {error.name}",
        ) from None
    options = {"stream_results": True, **_READ_ONLY.get(engine.dialect.name, {})}
    with engine.connect().execution_options(**options) as connection:
        try:
            yield connection
        finally:
            connection.rollback()


def _url(place: str | Path, name: str) -> Any:
    """Return a URL under which an SQLite file is neither made nor written."""
    import sqlalchemy

    url = sqlalchemy.make_url(f"sqlite:///{place}" if isinstance(place, Path) else place)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return url
    file = Path(url.database).expanduser()
    if not file.is_file():
        raise DataError(f"The database `{name}` does not exist.", fix="Check data.path.")
    return url.set(
        database=file.resolve().as_uri(), query={**url.query, "mode": "ro", "uri": "true"}
    )


def _check(query: str) -> None:
    """Refuse what is not a single SELECT.

    A read-only transaction that is rolled back stands behind this, where the database has them.
    """
    bare = _QUOTED.sub(" ", query).strip().removesuffix(";")
    if not _READS.match(bare) or ";" in bare or _WRITES.search(bare):
        raise ConfigError(
            "`data.query` is not one SELECT that only reads.",
            fix="Write one SELECT; put column names that are SQL words in double quotes.",
        )


def _only_table(connection: Any, name: str) -> str:
    import sqlalchemy

    looked = sqlalchemy.inspect(connection)
    found = [*looked.get_table_names(), *looked.get_view_names()]
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise DataError(f"`{name}` has no tables.", fix="Check data.path.")
    raise DataError(
        f"`{name}` has {len(found)} tables: {', '.join(f'`{table}`' for table in found[:20])}.",
        fix=f'Say which rows: data.query="SELECT * FROM {found[0]}".',
    )


def _batches(connection: Any, query: str, name: str) -> Iterator[list[dict[str, Any]]]:
    import sqlalchemy

    # exec_driver_sql: a colon in the query is no parameter.
    result = connection.exec_driver_sql(query)
    if not result.returns_rows:
        raise sqlalchemy.exc.ProgrammingError(query, None, ValueError("it gives no rows"))
    columns = list(result.keys())
    twice = [f"`{column}`" for column, times in Counter(columns).items() if times > 1]
    if twice:
        raise DataError(
            f"The query on `{name}` gives more than one column called {', '.join(twice)}.",
            fix="Name them: SELECT a.id AS first_id, b.id AS second_id …",
        )
    for part in result.partitions(BATCH_ROWS):
        yield [dict(zip(columns, map(_plain, row), strict=True)) for row in part]


def _plain(value: Any) -> Any:
    """Return a value as JSON or a file would hold it: dates as ISO, exact numbers as text."""
    if value is None or isinstance(value, str | int | float | bytes | list | dict):
        return value
    if isinstance(value, memoryview):
        return bytes(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _reason(error: Any, place: str | Path) -> str:
    """Return why in the driver's words, unless they may hold the text of a row or a password."""
    import sqlalchemy
    import sqlalchemy.exc as kinds

    safe = isinstance(error, kinds.OperationalError | kinds.ProgrammingError)
    words = str(error.orig).strip().splitlines() if safe and error.orig else []
    if not words:
        return type(error).__name__
    password = None if isinstance(place, Path) else sqlalchemy.make_url(place).password
    return words[0].rstrip(".").replace(str(password or "\0"), "***")
