from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finetune.data.cleaning.base import ORDER, build, find
from finetune.data.cleaning.pipeline import repaired
from finetune.errors import DataError

NEEDED = {"language": {"keep": ["en"]}, "length": {"max_chars": 30, "min_words": 2}}
STEPS = [find(name)(**{"action": "report", **NEEDED.get(name, {})}) for name in ORDER]
PIECES = [
    "Ã¼", "â€™", "å£", "‰Û", "‰Ûª", "Ì¼", "\ufffd", "é", "e\u0301", "ﬁ", "\u00a0", "\u2003",
    "\u3000", "\x00", "\x1b[31m", "\x1b", "\x85", "\x0b", "\x0c", "\x1f", "\ufeff", "\ufffe",
    "\ud83d", "\ude00", "\U0001ffff", "\u200d", "\u200f", "\u2028", "\r\n", "\r", "\n", "\n\n\n",
    "\t", " ", "  ", "&amp;", "&lt;", "&gt;", "&#39;", "&#x3C;", "&", "amp;", ";", "<b>", "</b>",
    "<br/>", "<td>", "<", ">", "<!--", "-->", "<p class='x'>", "<script>", "</script>", "`", "```",
    "<3", "b", "a", "jo@ex.org", "@", ".", "+49 30 123456", "0049 30 123456", "+",
    "4111 1111 1111 1111", "4111111111111111", "DE89 3704 0044 0532 0130 00", "10.20.30.40",
    "1.2.3.4", "2001:db8::1", "::", ":", "-", "/", "7", "00", "N/A", "null", "#REF!", "word",
    "Wo ist meine Karte geblieben?",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=12).map("".join)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
@example(text="")
@example(text="&amp;" * 30 + "lt;b>")
@example(text="\ud83d\ude00")
@example(text="\ud83d\ude00\ud800")
def test_repairing_twice_is_repairing_once(step, text):
    finding = step.check(text)
    if finding is None:
        return
    assert finding.counts
    assert all(count > 0 for count in finding.counts.values())
    if finding.repaired is not None:
        again = step.check(finding.repaired)
        assert again is None or again.repaired in (None, finding.repaired)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_the_quick_look_misses_nothing_that_the_close_look_finds(step, text):
    text = text.encode("utf-8", "replace").decode()
    if step.check(text) is not None:
        assert step.candidates(pa.array([text, "", text]))[[0, 2]].all()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@pytest.mark.parametrize("piece", PIECES)
def test_no_long_text_takes_long(step, piece):
    step.check(piece * 2000)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_ordinary_words_pass_through_all_repairs_unharmed(text):
    steps = [replace(s, action="repair") for s in STEPS if "repair" in s.actions]
    plain = "Where is my card, the one I ordered on Monday?"
    assert repaired(plain, steps) == plain
    once = repaired(text, steps)
    assert isinstance(once, str)


def test_every_file_with_a_step_is_in_the_order():
    from pathlib import Path

    import finetune.data.cleaning as package
    from finetune.data.cleaning.base import Step

    here = Path(package.__file__).parent
    steps = {
        file.stem for file in here.glob("*.py") if "(Step):" in file.read_text(encoding="utf-8")
    }
    assert steps == set(ORDER)
    assert all(issubclass(find(name), Step) and find(name)().name == name for name in ORDER)


def test_every_option_is_documented_and_the_first_is_the_action():
    import ast
    import dataclasses
    import inspect

    for name in ORDER:
        step = find(name)
        assert dataclasses.fields(step)[0].name == "action"
        body = ast.parse(inspect.getsource(step)).body[0].body
        options = [
            n for n in body if isinstance(n, ast.AnnAssign) and "ClassVar" not in ast.unparse(n)
        ]
        for option in options:
            following = body[body.index(option) + 1]
            assert isinstance(following, ast.Expr), f"{name}: {ast.unparse(option)}"


def test_options_become_steps_in_their_order():
    steps = build({"unicode": {"form": "NFKC"}, "html": {"action": "repair"}, "cells": {}})
    assert [step.name for step in steps] == ["html", "unicode"]
    assert steps[0].action == "repair"
    assert steps[1].form == "NFKC"


def test_the_options_of_the_configuration_are_those_of_the_steps():
    import dataclasses
    from typing import get_args, get_type_hints

    from finetune.config.clean_schema import CleanConfig

    configured = {field.name: field.default_factory for field in dataclasses.fields(CleanConfig)}
    for name in ORDER:
        section = dataclasses.asdict(configured[name]())
        step = find(name)(**section)
        for key, value in section.items():
            assert getattr(step, key) == (tuple(value) if isinstance(value, list) else value)
        assert find(name)().action == section["action"], name
        actions = get_args(get_type_hints(configured[name])["action"])
        assert actions == find(name).actions, name


def test_an_unknown_step_is_named_with_its_neighbours():
    with pytest.raises(DataError, match=r"no cleaning step `htlm`, did you mean `html`"):
        find("htlm")


def test_what_a_step_cannot_do_is_refused():
    with pytest.raises(DataError, match=r"`markers` cannot `repair`"):
        find("markers")(action="repair")
