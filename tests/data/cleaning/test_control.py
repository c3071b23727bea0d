import pytest

from finetune.data.cleaning.control import Control


@pytest.mark.parametrize(
    ("text", "fixed", "counts"),
    [
        ("a\x00b", "ab", {"control": 1}),
        ("\ufeffstart", "start", {"byte_order_mark": 1}),
        ("mid\ufeffdle\x7f", "middle", {"byte_order_mark": 1, "control": 1}),
        ("\x1b[31mred\x1b[0m", "red", {"control": 2}),
        ("page\x0cnext\x0bline", "page\nnext\nline", {"control": 2}),
        ("field\x1ffield", "field field", {"control": 1}),
        ("one\r\x85two", "one\ntwo", {"control": 1}),
        ("x\ufffcy\u206a", "xy", {"annotation": 2}),
        ("\x80\x9f", "", {"control": 2}),
    ],
)
def test_what_nobody_sees_is_removed_and_words_stay_apart(text, fixed, counts):
    finding = Control().check(text)
    assert finding.repaired == fixed
    assert finding.counts == counts


@pytest.mark.parametrize(
    "text",
    [
        "tab\tand\nline\r\n",
        "می\u200cخواهم",
        "क्\u200dष",
        "👩\u200d🚀",
        "\u200fשלום\u200e",
        "\u202bעברית\u202c",
        "ไทย\u200bไทย",
        "soft\u00adhyphen",
        "no\u00a0break",
        "\u2066a\u2069",
        "❤\ufe0f",
    ],
)
def test_what_scripts_and_emoji_need_stays(text):
    assert Control().check(text) is None
