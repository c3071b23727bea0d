"""What a job says while it runs."""

from __future__ import annotations

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import announce


def test_the_data_stage_says_counts_messages_and_what_was_cut(tmp_path, capsys):
    audit = {
        "rows": {"read": 12, "dropped": 2},
        "splits": {"train": 7, "test": 3},
        "messages": ["`body` is taken for text."],
        "tokens": {"truncated_rows": 1, "limit": 64, "tokens_lost": 5},
    }
    storage.write_json(tmp_path / "data" / "audit.json", audit)
    announce.say_data(RunFolder(tmp_path))
    said = capsys.readouterr().err
    assert "12 rows read, 2 dropped: train 7, test 3" in said
    assert "`body` is taken for text." in said
    assert "1 rows are cut at 64 tokens; 5 tokens are lost" in said


def test_a_stage_is_said_in_a_line(capsys):
    announce.say("train", "something")
    assert capsys.readouterr().err == "train     something\n"
