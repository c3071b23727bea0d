"""What a job says while it runs."""

from __future__ import annotations

import pytest

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.stages import announce


def test_the_data_stage_says_counts_messages_and_what_was_cut(tmp_path, capsys):
    audit = {
        "rows": {"read": 12, "dropped": 2},
        "splits": {"train": 7, "test": 3},
        "messages": ["`body` is taken for text."],
        "tokens": {
            "truncated_rows": 1,
            "limit": 64,
            "tokens_lost": 5,
            "answerless_rows": {"validation": 0, "test": 3},
            "audio_seconds": {"unheard_rows": 4, "window": 30},
        },
    }
    storage.write_json(tmp_path / "data" / "audit.json", audit)
    announce.say_data(RunFolder(tmp_path))
    said = capsys.readouterr().err
    assert "12 rows read, 2 dropped: train 7, test 3" in said
    assert "`body` is taken for text." in said
    assert "1 row is cut at 64 tokens; tokens lost: 5" in said
    assert "rows without an answer within 64 tokens: test 3; they stay" in said
    assert "4 recordings are longer than the 30 s that the model hears at once" in said


def test_a_stage_is_said_in_a_line(capsys):
    announce.say("train", "something")
    assert capsys.readouterr().err == "train     something\n"


def test_a_kept_step_is_said_where_it_is_not_the_last(capsys):
    announce.say_kept({"kept": "step-9", "steps": 27}, "exact_match")
    assert "step 9 of 27 is kept: the best by exact_match" in capsys.readouterr().err
    announce.say_kept({"kept": "step-27", "steps": 27}, "exact_match")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train.num_train_epochs=3", "train.max_steps=60"], "train.max_steps=60 says when"),
        (["train.max_steps=60"], ""),
        (["train.num_train_epochs=3"], ""),
        (["train.num_train_epochs=3", "train.max_steps=null"], ""),
    ],
)
def test_of_two_ends_that_a_command_names_the_one_that_holds_is_said(command, said, capsys):
    announce.say_end(["recipe=bert/text_classification", *command])
    found = capsys.readouterr().err
    assert said in found
    assert bool(found) is bool(said)


def test_one_row_is_no_plural(tmp_path, capsys):
    audit = {
        "rows": {"read": 1, "dropped": 0},
        "splits": {"train": 1},
        "tokens": {"audio_seconds": {"unheard_rows": 1, "window": 30}},
    }
    storage.write_json(tmp_path / "data" / "audit.json", audit)
    announce.say_data(RunFolder(tmp_path))
    said = capsys.readouterr().err
    assert "   1 row read, 0 dropped: train 1\n" in said
    assert "   1 recording is longer" in said
