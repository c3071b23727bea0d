"""The page of a profile adds up, names the cause, and says what to try."""

import pytest

from finetune.training.profile_page import ADVICE, KINDS, PARTS, Measured, advice, kinds, page


def measured(**parts):
    return Measured(seconds=10.0, parts=parts, steps=5, device="cpu")


def test_the_shares_are_one_together_and_the_rest_is_pythons():
    shares = measured(forward=4.0, backward=3.0, data=1.0).shares()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["python"] == pytest.approx(0.2)
    assert set(shares) == set(PARTS)


@pytest.mark.parametrize("part", [part for part, _, _ in ADVICE if part != "python"])
def test_what_takes_most_is_named_and_has_advice(part):
    found = measured(**{part: 8.0, "forward": 1.0})
    assert f"Most of it was {PARTS[part]}: 80%." in page(found)
    assert advice(found) == [text for name, _, text in ADVICE if name == part]


def test_what_measuring_took_is_no_part_of_training():
    found = Measured(seconds=20.0, parts={"profiling": 10.0, "forward": 6.0}, steps=5, device="cpu")
    assert found.shares()["forward"] == pytest.approx(0.6)
    assert sum(found.shares().values()) == pytest.approx(1)
    written = page(found)
    assert "took 10.0 s, measuring itself 10.0 s beside." in written
    assert f"Most of it was {PARTS['forward']}: 60%." in written
    assert "measuring itself |" not in written


def test_the_biggest_comes_first():
    told = advice(measured(data=3.0, evaluation=5.0, forward=2.0))
    assert "Validation" in told[0]
    assert "waits for data" in told[1]


def test_operators_are_of_one_kind_each_and_none_is_lost():
    operators = {
        "aten::addmm": 4.0,
        "aten::bmm": 1.0,
        "aten::_scaled_dot_product_flash_attention_for_cpu": 2.0,
        "aten::_log_softmax": 0.5,
        "aten::_softmax": 0.25,
        "aten::_fused_adamw_": 0.75,
        "aten::native_layer_norm": 0.5,
        "aten::copy_": 0.5,
        "aten::something_new": 0.5,
    }
    found = kinds(operators)
    assert sum(found.values()) == pytest.approx(10.0)
    assert found["matrix products"] == 5.0
    assert found["attention"] == 2.25
    assert found["loss"] == 0.5
    assert found["optimiser"] == 0.75
    assert found["other"] == 0.5
    assert set(found) == {*KINDS, "other"}


@pytest.mark.parametrize(
    ("flops", "share", "sentence"),
    [(8e9, "80%", "only less work makes it faster"), (1e9, "10%", "products are small")],
)
def test_the_share_of_the_machines_rate_is_given(flops, share, sentence):
    found = Measured(
        seconds=10.0, parts={"forward": 4.0, "backward": 6.0}, steps=1, device="cpu",
        tokens=1000, flops=flops, rate=1e9,
    )  # fmt: skip
    assert f"at {share} of this rate" in page(found)
    assert sentence in page(found)


def test_nothing_is_said_of_a_rate_that_is_not_known():
    assert "not known" in page(measured(forward=9.0))


def test_nothing_to_say_is_said():
    assert advice(measured(forward=5.0, backward=5.0)) == ["Nothing stands out."]
