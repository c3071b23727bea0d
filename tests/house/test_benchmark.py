"""The benchmark: what it counts, what it compares, when it takes a row back, what its page says."""

from __future__ import annotations

import importlib
import json
import re
import statistics
import subprocess
import sys

import pytest
import torch

MODULES = (
    "benchmark_dpo",
    "benchmark_media",
    "benchmark_families",
    "benchmark_page",
    "benchmark_contestants",
    "benchmark",
)


@pytest.fixture(scope="module")
def scripts(root):
    sys.path.insert(0, str(root / "scripts"))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(root / "scripts"))
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture
def family(scripts):
    return scripts["benchmark_families"].FAMILIES["gpt-lora"]


def measured(contestant, speed, **others):
    return {
        "family": "gpt-lora",
        "contestant": contestant,
        "steps": 10,
        "tokens_per_cpu_second": speed,
        "tokens_per_second": speed / 2,
        "first_step_seconds": 9.0,
        "first_step_cpu_seconds": 8.0,
        "peak_rss_mb": 700.0,
        "loss": 9.0,
        "trainable_parameters": 1000,
        "padding_free": contestant in ("ours", "trl-best"),
        "frozen_part": False,
        "later_epochs": None,
        **others,
    }


def a_round(**changes):
    speeds = {"trl": 300.0, "trl-best": 500.0, "ours": 800.0, "ours-padded": 400.0}
    return [measured(name, speed, **changes.get(name, {})) for name, speed in speeds.items()]


@pytest.fixture
def report(scripts, family):
    rounds = a_round()
    return {
        "command": "python scripts/benchmark.py",
        "date": "2026-11-21",
        "machine": {"cores": 2, "processor": "one", "gpu": None, "load": 0.1},
        "versions": {"torch": "2.13.0"},
        "settings": {"rounds": 1, "threads": 1, "seed": 42},
        "minutes": 1.0,
        "rows": scripts["benchmark"].summary(family, rounds),
        "measurements": rounds,
    }


def test_speed_counts_the_tokens_after_the_second_step_and_their_time(scripts):
    ends = [(10.0, 5.0), (12.0, 6.0), (15.0, 7.0), (20.0, 8.0)]
    found = scripts["benchmark_contestants"].steady(ends, [1000, 1000, 30, 50])
    assert found == {"tokens_per_second": 80 / 8, "tokens_per_cpu_second": 80 / 2}


def test_the_rows_of_a_family_are_the_same_each_time_and_within_their_bounds(scripts):
    families = scripts["benchmark_families"]
    for architecture, low, high in (("bert", 4, 126), ("t5", 7, 255), ("gpt", 22, 998)):
        rows = families.rows(architecture, 200)
        assert rows == families.rows(architecture, 200)
        words = [
            len(row["text"].split())
            if "text" in row
            else len(row["source"].split())
            if "source" in row
            else sum(len(turn["content"].split()) for turn in row["messages"])
            for row in rows
        ]
        assert low <= min(words) < statistics.median(words) < max(words) <= high
        assert max(words) > 3 * statistics.median(words)  # a long tail, else padding costs nothing


def test_the_ratio_is_to_the_fastest_peer_by_cpu_time(scripts, family):
    rows = {row["contestant"]: row for row in scripts["benchmark"].summary(family, a_round())}
    assert {row["best_peer"] for row in rows.values()} == {"trl-best"}
    assert {name: row["ratio"] for name, row in rows.items()} == {
        "trl": 0.6, "trl-best": 1.0, "ours": 1.6, "ours-padded": 0.8,
    }  # fmt: skip
    assert all(row["void"] is None for row in rows.values())


def test_rounds_give_medians_with_the_lowest_and_highest_beside(scripts, family):
    rounds = [
        *a_round(ours={"tokens_per_cpu_second": 100.0}),
        *a_round(ours={"tokens_per_cpu_second": 900.0}),
        *a_round(),
    ]
    ours = scripts["benchmark"].summary(family, rounds)[2]
    assert ours["tokens_per_cpu_second"] == 800.0
    assert ours["spread"] == [100.0, 900.0]


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        ({"loss": 9.2}, "mean loss 9.2000 against 9.0000"),
        ({"loss": float("nan")}, "mean loss nan"),
        ({"trainable_parameters": 999}, "trains 999 of 1,000 weights"),
        ({"steps": 9}, "9 steps of 10"),
        ({"padding_free": False}, "its layers saw padding"),
    ],
)
def test_a_row_that_is_other_work_is_void_and_gets_no_ratio(
    scripts, family, report, difference, says
):
    rows = scripts["benchmark"].summary(family, a_round(ours=difference))
    assert rows[2]["void"].startswith(says)
    text = scripts["benchmark_page"].page({**report, "rows": rows})
    assert f"void: {says}" in text
    assert "- No comparison: GPT chat, LoRA." in text
    assert "×1.60" not in text


def test_a_loss_within_one_percent_is_the_same_work(scripts, family):
    rows = scripts["benchmark"].summary(family, a_round(ours={"loss": 9.08}))
    assert rows[2]["void"] is None


@pytest.mark.parametrize(
    ("speed", "says"),
    [
        (1000.0, "- At least ×2 the best peer: GPT chat, LoRA ×2.00."),
        (950.0, "- Faster, but short of ×2: GPT chat, LoRA ×1.90."),
        (800.0, "- Faster, but short of ×2: GPT chat, LoRA ×1.60."),
        (400.0, "- Slower than the best peer: GPT chat, LoRA ×0.80."),
    ],
)
def test_the_page_says_first_where_the_target_is_missed(scripts, family, report, speed, says):
    rows = scripts["benchmark"].summary(family, a_round(ours={"tokens_per_cpu_second": speed}))
    text = scripts["benchmark_page"].page({**report, "rows": rows})
    head = text.partition("\n## ")[0].splitlines()
    assert [line for line in head if line.startswith("- ")] == [says]


def test_what_is_written_by_hand_survives_a_new_measurement(scripts, report):
    page, mark = scripts["benchmark_page"].page, scripts["benchmark_page"].MARK
    first = page(report) + "\n## Where the time goes\n\nInto matrices.\n"
    again = page({**report, "date": "2027-01-01"}, first)
    assert again.endswith(f"{mark}\n\n## Where the time goes\n\nInto matrices.\n")
    assert "2027-01-01" in again
    assert "2026-11-21" not in again


def test_contestants_share_threads_and_no_setting_of_the_shell(scripts, monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    found = scripts["benchmark"].environment(1, tmp_path)
    assert found["FINETUNE_CACHE"] == str(tmp_path / "cache")
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "MKL_NUM_THREADS" not in found


def test_the_page_is_what_the_command_writes_for_every_family(root, scripts):
    text = (root / "docs" / "speed.md").read_text("utf-8")
    page = scripts["benchmark_page"]
    assert page.INTRODUCTION in text
    assert page.METHOD in text
    assert "python scripts/benchmark.py" in text
    for family in scripts["benchmark_families"].FAMILIES.values():
        section = text.partition(f"## {family.title}\n")[2].partition("\n## ")[0]
        for contestant in family.contestants:
            assert f"| {page.NAMES[contestant]} |" in section
        ours = section.partition(f"| {page.NAMES['ours']} |")[2].partition("\n")[0]
        ratio = re.findall(r"×\d+\.\d\d", ours)[0]
        assert f"{family.title} {ratio}" in text.partition("\n## ")[0]


def test_what_is_computed_once_for_later_epochs_counts(scripts):
    contestants = scripts["benchmark_contestants"]
    ends = [(10.0, 5.0), (12.0, 6.0), (15.0, 7.0), (20.0, 8.0)]
    found = contestants.steady(ends, [10, 10, 10, 10], (5.0, 4.0))
    assert found == {"tokens_per_second": 40 / 15, "tokens_per_cpu_second": 10.0}


def test_the_epochs_after_the_first_are_told_apart(scripts):
    ends = [(10.0, 5.0), (12.0, 6.0), (15.0, 7.0), (20.0, 8.0)]
    assert scripts["benchmark_contestants"].later(ends, [10, 10, 30, 30], 2) == 60 / 2
    rows = [{"contestant": name, "later_epochs": rate} for name, rate in
            (("hf", 10.0), ("hf-best", 20.0), ("ours", 80.0), ("ours-anew", 30.0))]  # fmt: skip
    assert "×4.00 the best peer" in scripts["benchmark_page"].afterwards(rows)


def test_a_family_with_a_frozen_part_is_void_where_that_is_computed_anew(scripts):
    family = scripts["benchmark_families"].FAMILIES["clip-frozen"]
    row = {
        "loss": 1.0, "trainable_parameters": 1, "steps": 4, "contestant": "ours",
        "padding_free": False, "frozen_part": True,
    }  # fmt: skip
    against = scripts["benchmark"].reason_against
    assert against(row, row, family) is None
    assert "in each epoch" in against({**row, "frozen_part": False}, row, family)


def test_without_a_gpu_its_families_end_in_a_sentence(root):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "scripts/benchmark.py", "--gpu"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "No GPU is at hand" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_share_of_a_gpu_is_four_operations_for_each_weight_of_the_trunk(scripts):
    page = scripts["benchmark_page"]
    gpu = {"name": "one", "matmul_tflops": 790.0}
    row = {"family": "llama-8b-lora", "tokens_per_second": 25_000.0, "contestant": "ours"}
    assert page.utilisation(row, gpu) == pytest.approx(4 * 6.98e9 * 25_000 / 790e12, rel=0.01)
    assert "**finetune** 88%" in page.utilisations([row], gpu)
    assert page.utilisations([row], None) == ""


def test_a_rehearsal_of_the_gpu_is_small_and_on_the_cpu(scripts, monkeypatch):
    families = scripts["benchmark_families"]
    assert families.family_of("llama-8b-lora").device == "cuda"
    monkeypatch.setenv("BENCHMARK_REHEARSAL", "1")
    small = families.family_of("llama-8b-lora")
    assert (small.device, small.shape) == ("cpu", "small")
    assert "trl-liger" not in small.peers


@pytest.mark.slow
def test_a_quick_run_trains_every_contestant_to_the_same_loss(root, scripts, tmp_path):
    done = subprocess.run(
        [sys.executable, "scripts/benchmark.py", "--quick",
         "--json", str(tmp_path / "speed.json"), "--page", str(tmp_path / "speed.md")],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "speed.json").read_text("utf-8"))
    families = scripts["benchmark_families"].FAMILIES
    expected = [(f.name, contestant) for f in families.values() for contestant in f.contestants]
    assert [(row["family"], row["contestant"]) for row in report["rows"]] == expected
    assert len(report["measurements"]) == len(expected)
    for row in report["rows"]:
        if row["contestant"] != "ours-short":  # another function, by name
            assert row["void"] is None, row
        epochs = families[row["family"]].epochs
        assert row["steps"] == scripts["benchmark"].QUICK_STEPS * epochs
        assert all(row[key] > 0 for key in scripts["benchmark"].MEASURED)
        assert row["ratio"] > 0
        assert row["ratio_by_clock"] > 0
    assert {"command", "date", "machine", "versions", "settings", "minutes"} <= set(report)
    assert set(report["versions"]) == {"python", *scripts["benchmark"].PACKAGES}
    page = (tmp_path / "speed.md").read_text("utf-8")
    assert page == scripts["benchmark_page"].page(report)
