import pyarrow as pa
import pytest

from finetune.data.cleaning.length import Length
from finetune.errors import DataError


@pytest.mark.parametrize(
    ("options", "text", "kind"),
    [
        ({}, "", "too_short"),
        ({}, " \n\u3000\x1c", "too_short"),
        ({}, "a", None),
        ({"min_chars": 3}, " ab ", "too_short"),
        ({"min_chars": 3}, "abc", None),
        ({"max_chars": 3}, " abc ", None),
        ({"max_chars": 3}, "abcd", "too_long"),
        ({"min_words": 2}, "one", "too_short"),
        ({"min_words": 2}, "one two", None),
        ({"min_chars": 0}, "", None),
        ({"max_chars": 2}, "😀😀", None),
    ],
)
def test_bounds_are_inclusive_and_blanks_at_the_ends_do_not_count(options, text, kind):
    finding = Length(action="drop", **options).check(text)
    assert (finding and dict(finding.counts)) == (kind and {kind: 1})


def test_a_text_of_blanks_is_short_at_first_sight_too():
    blanks = "\x1c\x1d\u3000\u2028"
    assert Length().check(blanks)
    assert Length().candidates(pa.array([blanks, "ab"])).tolist() == [True, False]


def test_bounds_that_nothing_fits_are_refused():
    with pytest.raises(DataError, match=r"max_chars=2` is below `min_chars=3"):
        Length(min_chars=3, max_chars=2)
