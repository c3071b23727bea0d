"""Databases are read, and neither written, nor made, nor told about."""

import sqlite3

import pytest

from finetune.data import databases
from finetune.data.databases import is_url, read_database, shown
from finetune.data.sources import read
from finetune.errors import ConfigError, DataError


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mail (body, score)")
        rows = [("a:b", 1), ("%s", 2.5), (None, None), (b"\x00", 4)]
        connection.executemany("INSERT INTO mail VALUES (?, ?)", rows)
    return path


def test_types_are_those_of_all_rows(shop, monkeypatch):
    monkeypatch.setattr(databases, "BATCH_ROWS", 1)
    query = "SELECT body, score FROM mail WHERE body NOT LIKE 'x:y' AND score < 4"
    table, ids, name = read_database(shop, query)
    assert table.to_pylist() == [{"body": "a:b", "score": 1.0}, {"body": "%s", "score": 2.5}]
    assert (list(ids), name) == (["shop.sqlite:1", "shop.sqlite:2"], "shop.sqlite")


def test_the_only_table_is_taken_and_several_are_listed(shop):
    table, ids, name = read_database(f"sqlite:///{shop}", None)
    assert (table.num_rows, name, ids[0]) == (4, "shop.sqlite/mail", "shop.sqlite/mail:1")
    with sqlite3.connect(shop) as connection:
        connection.execute('CREATE VIEW "the rest" AS SELECT 1')
    with pytest.raises(DataError, match="2 tables: `mail`, `the rest`") as raised:
        read_database(shop, None)
    assert "SELECT * FROM mail" in raised.value.fix


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM mail",
        "SELECT 1; DROP TABLE mail",
        "SELECT 1; SELECT 2",
        "WITH x AS (DELETE FROM mail RETURNING *) SELECT * FROM x",
        "SELECT * INTO copy FROM mail",
        "PRAGMA journal_mode",
        "-- SELECT\nDROP TABLE mail",
        "",
    ],
)
def test_only_one_select_is_taken(shop, query):
    with pytest.raises(ConfigError, match="not one SELECT"):
        read_database(shop, query)


@pytest.mark.parametrize(
    "query",
    [
        "select 'drop; it' as body",
        "(SELECT 1 AS a);",
        'SELECT body AS "update" FROM mail -- delete',
        "/* note; */ WITH x AS (SELECT 1 AS a) SELECT * FROM x",
    ],
)
def test_words_inside_quotes_and_comments_are_no_commands(query):
    databases._check(query)


def test_a_file_is_opened_for_reading_alone(shop, monkeypatch):
    monkeypatch.setattr(databases, "_check", lambda _: None)
    with pytest.raises(DataError, match="readonly database"):
        read_database(shop, "INSERT INTO mail VALUES (1, 2)")
    with pytest.raises(DataError, match="does not exist"):
        read_database(f"sqlite:///{shop}x", None)
    assert not shop.with_name("shop.sqlitex").exists()


def test_a_password_is_never_shown(monkeypatch):
    url = "postgresql://me:hunter2@db.example.com:5432/shop?sslmode=require"
    assert shown(url) == "shop"
    with pytest.raises(DataError) as raised:
        read(url, None)
    assert "hunter2" not in str(raised.value)
    assert "me" not in raised.value.problems[0].split()
    import sqlalchemy

    def fail(*_, **__):
        raise sqlalchemy.exc.OperationalError("SELECT", None, Exception("bad login hunter2"))

    monkeypatch.setattr(sqlalchemy, "create_engine", fail)
    with pytest.raises(DataError, match="bad login \\*\\*\\*") as raised:
        read_database(url, "SELECT 1")
    assert raised.value.__cause__ is None


def test_a_missing_driver_says_what_to_install():
    with pytest.raises(DataError) as raised:
        read_database("mysql+pymysql://u:p@h/d", "SELECT 1")
    assert raised.value.fix == "pip install pymysql"


def test_text_of_rows_stays_out_of_errors(tmp_path):
    path = tmp_path / "x.db"
    path.write_text("secret words, and no database " * 50)
    with pytest.raises(DataError, match=r"`x\.db` cannot be read: DatabaseError") as raised:
        read_database(path, None)
    assert "secret" not in str(raised.value)


def test_columns_of_one_name_have_to_be_told_apart(shop):
    with pytest.raises(DataError, match="more than one column called `body`"):
        read_database(shop, "SELECT a.body, b.body FROM mail a, mail b")


def test_urls_of_databases_are_told_from_others():
    assert is_url("sqlite:///x.db")
    assert is_url("postgresql+psycopg://h/d")
    assert not is_url("s3://bucket/x.csv")
    assert not is_url("https://example.com/x.csv")
    assert not is_url("x.db")
