"""What is written as JSON lines comes back, and mistakes name their line."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data import json_lines
from finetune.data.problems import Problems
from finetune.data.sources import Reading, read

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def only(found):
    (source,) = found.values()
    return source


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({"text": TEXT, "n": st.integers(-5, 5)}), min_size=1))
def test_any_text_survives_json_lines(rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.jsonl")
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        path.write_bytes("\n".join(lines).encode())
        source = only(read(path))
    assert source.table.to_pylist() == rows
    assert list(source.ids) == [f"x.jsonl:{2 * index + 1}" for index in range(len(rows))]


def test_bad_lines_of_a_second_pass_are_counted_once(write, monkeypatch):
    monkeypatch.setattr(json_lines, "BATCH_ROWS", 1)
    problems = Problems("drop")
    path = write("x.jsonl", '{"a": 1}\nnonsense\n{"a": "x"}\n' + "9" * 5000 + "\n")
    source = only(read(path, Reading(problems=problems)))
    assert source.table["a"].to_pylist() == ["1", '"x"']
    assert list(source.ids) == ["x.jsonl:1", "x.jsonl:3"]
    assert [entry["id"] for entry in problems.quarantine] == ["x.jsonl:2", "x.jsonl:4"]
