"""`key=value` on the command line: Hydra's grammar, and plain text where that ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.config import overrides


def value_of(argument):
    problems: list[str] = []
    [override] = overrides.parse([argument], problems)
    assert problems == []
    return override.value()


@pytest.mark.parametrize(
    "value",
    [
        "my files/mail (1).csv",
        "C:\\Users\\x y\\mail.csv",
        "{title}\n{body}",
        "{title}: {body}",
        "it's here.csv",
        "a; b",
        "naïve/データ.csv",
        "'quoted' and not",
        "[unclosed",
        "100%",
        "#1",
    ],
)
def test_values_outside_hydras_grammar_are_taken_as_text(value):
    assert value_of(f"data.path={value}") == value


def test_values_inside_hydras_grammar_keep_their_types():
    assert value_of("a=1e-3") == 0.001
    assert value_of("a=true") is True
    assert value_of("a=null") is None
    assert value_of("a=[1,x]") == [1, "x"]
    assert value_of("a={b: 1}") == {"b": 1}
    assert value_of("a='1'") == "1"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30))
def test_any_argument_is_read_or_told_but_never_a_crash(text):
    problems: list[str] = []
    parsed = overrides.parse([text, f"data.path={text}"], problems)
    assert len(parsed) + len(problems) == 2


def test_a_bare_word_is_told_with_what_it_may_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mail.csv").touch()
    problems: list[str] = []
    assert overrides.parse(["mail.csv", "quickstart", "x", "="], problems) == []
    assert "data.path=mail.csv" in problems[0]
    assert "recipe=quickstart" in problems[1]
    assert "without blanks around the `=`" in problems[2]
    assert "no key before the `=`" in problems[3]


@pytest.mark.parametrize(
    ("group", "choice", "said"),
    [
        ("model", "bert", "`tiny/bert`"),
        ("recipe", "berts", "did you mean one of `bert/"),
        ("recipe", "whispr/x", "did you mean one of `whisper/"),
        ("recipe", "zzz", "list recipe"),
        ("model", "tiny", "is a folder; it has"),
        ("model", "facebook/opt-125m", "model.name_or_path=facebook/opt-125m"),
        ("data", "/tmp/x.csv", "data.path=/tmp/x.csv"),
        ("strategy", "zzz", "list strategy"),
        ("task", "text-classification", "`text_classification`"),
    ],
)
def test_a_choice_that_is_not_there_names_what_may_be_meant(group, choice, said):
    assert said in overrides.unknown_choice(group, choice)


def test_several_values_without_m_are_told(refused):
    assert "add -m" in str(refused("seed=1,2"))
    assert "data.slices=[…]" in str(refused("data.slices=a,b"))
