"""Every source that is read, and every way in which one cannot be."""

import gzip
import json

import pytest

from finetune.data.problems import Problems
from finetune.data.sources import UNCUT, Reading, gather, read, read_rows
from finetune.errors import ConfigError, DataError

ROWS = [{"text": 'zwölf, "quoted"\nlines', "label": "007"}, {"text": "b", "label": "1"}]


def only(found):
    (source,) = found.values()
    return source


def refused(path, **options) -> DataError:
    with pytest.raises(DataError) as raised:
        read(path, Reading(**options))
    assert raised.value.fix
    return raised.value


CSV = 'text,label\n"zwölf, ""quoted""\nlines",007\nb,1\n'


@pytest.mark.parametrize(
    "content",
    [
        CSV.encode(),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.replace("\n", "\r\n").replace("\r\nlines", "\nlines").encode(),
        (CSV + "\n\n").encode(),
        CSV.replace(",0", ";0").replace(",1", ";1").replace("t,l", "t;l").encode(),
    ],
    ids=["plain", "signature", "crlf", "blank lines", "semicolons"],
)
def test_a_csv_is_read_as_text_whatever_its_line_ends_and_separator(write, content):
    source = only(read(write("x.csv", content)))
    assert source.table.to_pylist() == ROWS
    assert source.ids == ["x.csv:2", "x.csv:4"]


def test_a_tsv_and_a_given_separator_are_obeyed(write):
    assert only(read(write("x.tsv", "a\tb\n1\t2\n"))).table.to_pylist() == [{"a": "1", "b": "2"}]
    found = only(read(write("x.csv", "a~b\n1~2\n"), Reading(delimiter="~")))
    assert found.table.to_pylist() == [{"a": "1", "b": "2"}]


def test_one_column_of_sentences_with_commas_is_not_cut(write):
    found = only(read(write("x.tsv", "text\nyes, no\nwell, then\n")))
    assert found.table.column_names == ["text"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "jsonl.gz", "parquet", "arrow"])
def test_json_parquet_and_arrow_hold_the_same_rows(tmp_path, suffix):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"x.{suffix}"
    lines = "".join(json.dumps(row) + "\n\n" for row in ROWS)
    if suffix == "jsonl":
        path.write_text(lines)
    elif suffix == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif suffix == "json":
        path.write_text(json.dumps({"version": 1, "data": ROWS}))
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        table = pa.Table.from_pylist(ROWS)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    assert only(read(path)).table.to_pylist() == ROWS


def test_class_numbers_of_a_parquet_file_become_their_names(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    made.to_parquet(tmp_path / "x.parquet")
    assert only(read(tmp_path / "x.parquet")).table["label"].to_pylist() == ["spam", "ham"]


def test_json_lines_under_the_name_json_are_recognised(write):
    reading = Reading()
    found = read(write("x.json", '{"a": 1}\n{"a": 2}\n'), reading)
    assert only(found).table.to_pylist() == [{"a": 1}, {"a": 2}]
    assert "one JSON object a line" in reading.messages[0]


# ---------------------------------------------------------------- what cannot be read


def test_bytes_that_do_not_decode_are_refused_with_their_offset(write):
    path = write("x.csv", b"text,label\n" + b"a,b\n" * 30_000 + b"caf\xe9,b\n")
    error = refused(path)
    assert "0xe9 at offset 120,014" in str(error)
    assert "data.encoding=cp1252" in error.fix
    assert only(read(path, Reading(encoding="cp1252"))).table["text"][-1].as_py() == "café"


def test_an_offset_inside_a_character_cut_by_the_chunk_is_exact(write):
    head = "a\n" + "x" * ((1 << 20) - 3)
    error = refused(write("x.csv", head.encode() + "é".encode() * 3 + b"\xff\n"))
    assert f"offset {len(head) + 6:,} " in str(error)


def test_utf16_is_named(write):
    path = write("x.csv", "text\nä\n".encode("utf-16"))
    assert "utf-16" in refused(path).fix
    assert only(read(path, Reading(encoding="utf-16"))).table.to_pylist() == [{"text": "ä"}]


@pytest.mark.parametrize("encoding", ["utf8000", "hex"])
def test_an_unknown_encoding_is_refused(write, encoding):
    assert encoding in str(refused(write("x.csv", "a\nb\n"), encoding=encoding))


def test_wrong_field_counts_are_refused_by_line_all_at_once(write):
    error = refused(write("x.csv", 'a,b\n"1\n1",2\n3\n4,5\n6,7,8\n'))
    assert error.problems == [
        "A row has 1 fields instead of 2 in 1 of 4 rows: x.csv:4.",
        "A row has 3 fields instead of 2 in 1 of 4 rows: x.csv:6.",
    ]
    assert "on_invalid=drop" in error.fix


def test_bad_lines_are_set_aside_when_asked(write):
    problems = Problems("drop")
    path = write("x.jsonl", '{"a": 1}\n{"a": \n[1]\n{"a": 2}')
    found = read(path, Reading(problems=problems))
    assert only(found).table.to_pylist() == [{"a": 1}, {"a": 2}]
    assert [entry["id"] for entry in problems.quarantine] == ["x.jsonl:2", "x.jsonl:3"]


def test_a_quote_that_never_closes_names_the_line_where_it_opens(write):
    error = refused(write("x.csv", 'a,b\n1,2\n"3,4\n5,6\n'))
    assert "never closed in 1 of 2 rows: x.csv:3" in str(error)


def test_a_cut_last_json_line_is_refused_with_its_number(write):
    error = refused(write("x.jsonl", '{"a": "one"}\n\n{"a": "two'))
    assert "x.jsonl:3" in str(error)
    assert "two" not in str(error)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "a,b\n", "holds no rows"),
        ("x.csv", "a,a\n1,2\n", "more than one column called `a`"),
        ("x.json", '{"a": 1', "line 1, column"),
        ("x.json", '"text"', "not a list of objects"),
        ("x.json", "[1, 2]", "Item 1"),
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.jsonl", "[" * 100_000, "nested too deeply"),
        ("x.parquet", "PAR1 but not really", "cannot be read as parquet"),
        ("x.arrow", "nothing of the kind", "cannot be read as arrow"),
        ("x.jsonl.gz", "not compressed", "gzip"),
        ("x.docx", "?", "no format that is known"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(write, name, content, said):
    assert said in str(refused(write(name, content)))


def test_a_missing_path_names_the_nearest_that_is_there(write):
    path = write("messages.csv", "a\n1\n")
    error = refused(path.with_name("mesages.csv"))
    assert "did you mean `messages.csv`?" in str(error)


def test_a_folder_below_one_that_exists_is_not_taken_for_a_hub_id(write, tmp_path, monkeypatch):
    write("data/x.csv", "a\n1\n")
    monkeypatch.chdir(tmp_path)
    assert "does not exist" in str(refused("data/y"))


# ---------------------------------------------------------------- folders


def test_a_folder_of_split_files_is_read_by_split(write):
    path = write("train.csv", "a\n1\n2\n")
    write("dev.jsonl", '{"a": "3"}\n')
    write("README.md", "about")
    write("domains.json", "{}")
    found = read(path.parent)
    assert {split: source.table.num_rows for split, source in found.items()} == {
        "train": 2,
        "validation": 1,
    }
    assert found["validation"].ids == ["dev.jsonl:1"]


def test_shards_are_put_together_and_two_different_files_are_not(write):
    path = write("train-00000-of-00002.csv", "a\n1\n")
    write("train-00001-of-00002.csv", "a\n2\n")
    assert only(read(path.parent)).table["a"].to_pylist() == ["1", "2"]
    write("train.en-de.csv", "a\n3\n")
    assert "several files for the split `train`" in str(refused(path.parent))


def test_a_folder_of_one_file_is_that_file_and_an_empty_one_is_refused(write, tmp_path):
    path = write("one/export.csv", "a\n1\n")
    assert list(read(path.parent)) == [UNCUT]
    (tmp_path / "none").mkdir()
    assert "holds no data" in str(refused(tmp_path / "none"))


def test_subfolders_called_like_splits_are_splits(write):
    path = write("set/train/part.csv", "a\n1\n")
    write("set/test/part.csv", "a\n2\n")
    found = read(path.parents[1])
    assert found["test"].ids == ["test/part.csv:2"]


def test_pictures_in_a_folder_per_label_get_it(write, png):
    for split in ("train", "test"):
        for colour in ("red", "blue"):
            path = write(f"set/{split}/{colour}/1.png", png())
    found = read(path.parents[2])
    assert found["train"].table.to_pylist() == [
        {"image": "blue/1.png", "label": "blue"},
        {"image": "red/1.png", "label": "red"},
    ]
    assert found["train"].ids == ["train/blue/1.png", "train/red/1.png"]


def test_a_metadata_file_describes_recordings(write, wav):
    path = write("set/metadata.csv", "file_name,transcription\na.wav,one\n")
    write("set/a.wav", wav())
    found = only(read(path.parent))
    assert found.table.to_pylist() == [{"audio": "a.wav", "transcription": "one"}]
    assert found.ids == ["metadata.csv:2"]


def test_pictures_without_label_or_text_are_refused(write, png):
    path = write("set/1.png", png())
    assert "without a label or a text" in str(refused(path.parent))
    write("set/metadata.csv", "name,text\n1.png,x\n")
    assert "no column `file_name`" in str(refused(path.parent))
    assert "no audio files" in str(refused(write("e/a.txt", "x").parent, format="audiofolder"))


# ---------------------------------------------------------------- patterns, databases and rows


def test_rows_from_python_may_come_in_splits():
    assert only(read_rows(ROWS)).ids == ["rows:1", "rows:2"]
    assert list(read_rows({"train": ROWS, "val": ROWS})) == ["train", "validation"]
    with pytest.raises(ConfigError, match="did you mean `train`"):
        read_rows({"trian": ROWS})
    with pytest.raises(DataError, match="holds no rows"):
        read_rows([])
    with pytest.raises(DataError, match="must be dictionaries"):
        read_rows(["text"])


def test_a_pattern_takes_shards_in_order_and_ids_name_file_and_line(write):
    path = write("set/part-2.jsonl", '{"a": "3"}\n')
    write("set/part-1.jsonl", '\n{"a": 1}\n{"a": "2"}\n')
    write("set/other.csv", "a\n9\n")
    reading = Reading()
    found = read(path.parent / "part-*.jsonl", reading)
    assert list(found) == [UNCUT]
    assert list(only(found).ids) == ["part-1.jsonl:2", "part-1.jsonl:3", "part-2.jsonl:1"]
    assert only(found).table["a"].to_pylist() == ["1", '"2"', '"3"']
    assert reading.messages == ["`part-*.jsonl` fits 2 files."]
    assert "Nothing fits" in str(refused(path.parent / "part-*.parquet"))


def test_a_pattern_over_named_splits_is_read_by_split(write):
    path = write("set/train.en.csv", "a\n1\n")
    write("set/test.en.csv", "a\n2\n")
    assert list(read(path.parent / "*.en.csv")) == ["test", "train"]
    assert list(read(str(path.parent / "train*.csv"))) == [UNCUT]


def test_a_pattern_may_go_through_folders(write, tmp_path):
    write("set/a/x.csv", "t\n1\n")
    write("set/b/x.csv", "t\n2\n")
    assert list(only(read(tmp_path / "set" / "**" / "*.csv")).ids) == ["a/x.csv:2", "b/x.csv:2"]


def test_bad_lines_do_not_shift_the_ids_of_the_rows_behind_them(write):
    options = {"problems": Problems("drop")}
    found = only(read(write("x.csv", 'a,b\n1,2\n3\n"4\n5",6\n\n7,8\n'), Reading(**options)))
    assert list(found.ids) == ["x.csv:2", "x.csv:4", "x.csv:7"]
    assert [entry["id"] for entry in options["problems"].quarantine] == ["x.csv:3"]


def test_a_database_is_read_by_its_url_or_its_file(tmp_path):
    import sqlite3

    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mail (body TEXT, queue TEXT)")
        connection.execute("INSERT INTO mail VALUES ('hello', '007')")
    for place in (path, f"sqlite:///{path}"):
        found = only(read(place))
        assert found.table.to_pylist() == [{"body": "hello", "queue": "007"}]
    query = Reading(query="SELECT body AS text FROM mail")
    assert only(read(path, query)).table.to_pylist() == [{"text": "hello"}]


def test_a_query_on_a_file_that_is_no_database_is_refused(write):
    with pytest.raises(ConfigError, match=r"data\.query"):
        read(write("x.csv", "a\n1\n"), Reading(query="SELECT 1"))


def test_every_real_folder_is_read_or_says_what_to_set(shared):
    languages = refused(shared("translation_xquad"))
    folder = shared("translation_xquad")
    assert f"data.train={folder}/train.en-de.csv data.test={folder}/test.en-de.csv" in languages.fix
    for name, split, rows in [
        ("ner_wnut17", "train", 2900),
        ("text_cls_banking77", "test", 1001),
        ("text_cls_clinc150_oos", "validation", 650),
        ("multilabel_nlupp_banking", "train", 1658),
        ("instruct_seed_tasks", UNCUT, 175),
        ("image_cls_fashion", "train", 500),
        ("asr_fsdd", "test", 120),
        ("drift_text_sources", UNCUT, 3100),
    ]:
        assert read(shared(name))[split].table.num_rows == rows, name
    questions = only(read(shared("qa_xquad") / "train-en.json")).table
    assert questions.num_rows == 800
    assert questions.column_names == ["id", "title", "context", "question", "answers"]
    both = gather(Reading(), None, None, {"train": folder / "train.en-*.csv"})
    assert both["train"].table.num_rows == 1920
