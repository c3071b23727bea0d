import pytest

from finetune.data.cleaning.whitespace import Whitespace


@pytest.mark.parametrize(
    ("text", "fixed", "counts"),
    [
        (" a ", "a", {"edge": 1}),
        ("a  b   c", "a b c", {"run": 1}),
        ("a\u00a0b\u2009c", "a b c", {"odd_blank": 1}),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd", {"line_ending": 1}),
        ("a \nb", "a\nb", {"run": 1}),
        ("a\n\n\n\nb", "a\n\nb", {"run": 1}),
        ("a\u00a0 b\n", "a b", {"odd_blank": 1, "edge": 1, "run": 1}),
    ],
)
def test_needless_blanks_go(text, fixed, counts):
    finding = Whitespace().check(text)
    assert finding.repaired == fixed
    assert finding.counts == counts


@pytest.mark.parametrize(
    "text", ["a b", "", "a\nb", "a\n\nb", "if x:\n    y = 1\n\treturn", "a\tb", "東京\u3000大阪"]
)
def test_lines_paragraphs_and_indentation_stay(text):
    assert Whitespace().check(text) is None
