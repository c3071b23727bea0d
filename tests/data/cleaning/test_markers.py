import pyarrow as pa
import pytest

from finetune.data.cleaning.markers import KINDS, Markers


@pytest.mark.parametrize("marker", sorted(KINDS))
def test_every_marker_is_found_in_any_case_and_with_blanks_around(marker):
    for text in (marker, marker.upper(), f"  {marker}\n"):
        assert Markers().check(text).counts == {KINDS[marker]: 1}
        assert Markers().candidates(pa.array([text])).all()
    assert Markers().check(marker).repaired is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no",
        "0",
        "nano",
        "none of these",
        "N/A in this case",
        "-5",
        "a-b",
        "?!",
        "Null Island",
        "NA " * 40,
    ],
)
def test_a_marker_within_a_text_is_none(text):
    assert Markers().check(text) is None
