"""Peers with an environment of their own: who didn't run, what is compared, what is installed."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def others(root):
    before = set(sys.modules)
    sys.path.insert(0, str(root / "scripts"))
    yield importlib.import_module("benchmark_others")
    sys.path.remove(str(root / "scripts"))
    for name in [name for name in sys.modules if name.startswith("benchmark")]:
        if name not in before:
            del sys.modules[name]


@pytest.fixture
def environments(others):
    return sys.modules["benchmark_environments"]


def measured(contestant, speed, **changes):
    return {
        "contestant": contestant,
        "steps": 8,
        "tokens_per_cpu_second": speed,
        "tokens_per_second": speed / 2,
        "first_step_seconds": 9.0,
        "peak_rss_mb": 900.0,
        "loss": 9.0,
        "tokens": 8000,
        "trainable_parameters": 1000,
        **changes,
    }


def rows_of(others, measurements, failures=None):
    return {row["contestant"]: row for row in others.summary(measurements, failures or {})}


def test_the_ratio_says_how_many_times_as_fast_ours_is_by_the_medians(others):
    rounds = [measured("litgpt", speed) for speed in (100.0, 400.0, 200.0)]
    rounds += [measured("ours", speed) for speed in (500.0, 900.0, 600.0)]
    rows = rows_of(others, rounds)
    assert rows["litgpt"]["ours_is"] == rows["litgpt"]["ours_is_by_clock"] == 600 / 200
    assert rows["litgpt"]["spread"] == [100.0, 400.0]
    assert list(rows) == ["litgpt", "ours"]  # ours stands last, as in the other tables


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": 9.2}, "mean loss 9.2000, ours 9.0000"),
        ({"loss": float("nan")}, "mean loss"),
        ({"trainable_parameters": 900}, "900 weights, ours 1,000"),
        ({"steps": 7}, "7 steps, ours 8"),
    ],
)
def test_a_peer_that_did_other_work_has_no_ratio(others, changes, words):
    rounds = [measured("litgpt", 100.0, **changes), measured("ours", 500.0)]
    assert words in rows_of(others, rounds)["litgpt"]["void"]
    line = row_of(others.table(others.summary(rounds, {})), "LitGPT")
    assert "void: " in line
    assert "×" not in line


def test_a_peer_with_tokens_of_its_own_is_compared_per_token_and_the_table_says_so(others):
    rounds = [measured("litgpt", 100.0, tokens=9400, loss=8.0), measured("ours", 500.0)]
    line = row_of(others.table(others.summary(rounds, {})), "LitGPT")
    assert "9,400, so per token of its own" in line
    assert "×5.00" in line
    assert "of its own" not in row_of(others.table(others.summary(rounds, {})), r"\*\*finetune")


def test_a_peer_that_fails_has_its_reason_in_the_table_and_the_others_go_on(others):
    asked = []

    def train(contestant):
        asked.append(contestant)
        if contestant == "llamafactory":
            raise others.DidNotRun("training: ImportError: no torchaudio")
        return measured(contestant, 100.0)

    failures: dict[str, str] = {}
    rounds = []
    for number in range(2):
        rounds += others.one_round(number, ["llamafactory", "litgpt", "ours"], train, failures)
    assert asked == ["llamafactory", "litgpt", "ours", "litgpt", "ours"]
    page = others.table(others.summary(rounds, failures))
    line = row_of(page, "LLaMA-Factory, defaults")
    assert "did not run: training: ImportError: no torchaudio" in line
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1
    assert "×1.00" in row_of(page, "LitGPT")


def test_who_ran_in_one_round_and_failed_in_the_next_did_not_run(others):
    rounds = [measured("litgpt", 100.0), measured("ours", 500.0)]
    assert rows_of(others, rounds, {"litgpt": "why"})["litgpt"] == {
        "contestant": "litgpt",
        "did_not_run": "why",
    }


def test_speed_is_of_the_peers_own_tokens_after_its_second_step(others):
    found = {"ends": [[9, 5], [12, 6], [15, 7], [20, 8]], "tokens": [1000, 1000, 30, 50]}
    row = others.judged("litgpt", {**found, "loss": 9.0})
    assert (row["tokens_per_cpu_second"], row["tokens_per_second"]) == (80 / 2, 80 / 8)
    assert row["tokens"] == 2080


def test_each_round_begins_with_nothing_of_the_round_before_but_what_was_prepared(
    others, tmp_path, monkeypatch
):
    output, calls = tmp_path / "litgpt", []

    def call(words, what, **options):
        calls.append(what)
        if what == "training":
            assert options["env"]["PYTHONPATH"] == str(tmp_path / "litgpt-0.5.13" / "stubs")
            output.mkdir()  # fails where one is left
            found = {"ends": [[1, 1], [2, 2], [3, 3]], "tokens": [1, 2, 3], "loss": 9.0}
            words[-1].write_text(json.dumps(found))

    monkeypatch.setattr(others, "call", call)
    monkeypatch.setattr(others.benchmark, "environment", lambda *_: {"OMP": "1"})
    for _ in range(2):
        assert others.run(others.PEERS["litgpt"], tmp_path, tmp_path, 1)["tokens"] == 6
    assert calls == ["preparing", "training", "training"]


@pytest.mark.parametrize(("tokens", "loss"), [([1, 2, 3], 9.0), ([1, 2, 3, 4], float("nan"))])
def test_a_step_left_out_or_a_loss_that_is_no_number_is_no_run(others, tokens, loss):
    ends = [[9, 5], [12, 6], [15, 7], [20, 8]]
    with pytest.raises(others.DidNotRun, match="4 steps of"):
        others.judged("litgpt", {"ends": ends, "tokens": tokens, "loss": loss})


def test_nothing_is_installed_with_another_torch_or_with_nvidias_packages(environments):
    torch = "2.13.0+cpu"
    assert environments.unwanted({"torch": torch, "numpy": "2"}, torch, ["torch"]) is None
    assert "torch 2.14.0" in environments.unwanted({"torch": "2.14.0"}, torch, [])
    cuda = {"torch": torch, "nvidia-cublas": "13"}
    assert "1 packages of NVIDIA's" in environments.unwanted(cuda, torch, ["torch"])
    assert environments.unwanted(cuda, torch, ["nvidia-cublas"]) is None


def test_an_environment_is_refused_before_anything_of_it_is_installed(
    environments, tmp_path, monkeypatch
):
    calls = []

    def call(words, what, **options):
        calls.append([str(word) for word in words])
        if "venv" in calls[-1]:
            (tmp_path / "peer").mkdir()
        if "--report" in calls[-1]:
            plan = {"install": [{"metadata": {"name": "torch", "version": "0.1"}}]}
            (tmp_path / "peer" / "plan.json").write_text(json.dumps(plan))

    monkeypatch.setattr(environments, "call", call)
    with pytest.raises(environments.DidNotRun, match=r"torch 0\.1"):
        environments.install(tmp_path / "peer", "peer==1")
    assert len(calls) == 2
    assert "--dry-run" in calls[-1]
    assert not (tmp_path / "peer" / "installed.json").exists()


def test_an_environment_is_made_without_what_does_not_load_and_only_once(
    environments, tmp_path, monkeypatch
):
    torch, folder, calls = environments.metadata.version("torch"), tmp_path / "peer", []

    def call(words, what, **options):
        calls.append([str(word) for word in words])
        if "venv" in calls[-1]:
            folder.mkdir()
        if "--report" in calls[-1]:
            names = {"torch": torch, "torchaudio": "2", "TorchVision": "0.1", "peer": "1"}
            plan = [{"metadata": {"name": n, "version": v}} for n, v in names.items()]
            (folder / "plan.json").write_text(json.dumps({"install": plan}))

    monkeypatch.setattr(environments, "call", call)
    for _ in range(2):
        found = environments.install(
            folder, "peer==1", ("torchvision", "torchaudio"), ("torchaudio",)
        )
        assert found == {"torch": torch, "peer": "1"}
    assert len(calls) == 3
    assert (folder / "requirements.txt").read_text() == f"torch=={torch}\npeer==1\n"
    assert (folder / "constraints.txt").read_text() == f"torch=={torch}\n"
    assert (folder / "stubs" / "torchaudio" / "__init__.py").is_file()


def test_a_reason_is_the_last_error_without_places_of_this_machine(environments):
    said = (
        "Traceback\nImportError: no a | b in /home/me/x/lib/c.so\n  warnings.warn('never mind')\n"
    )
    assert environments.last_words(said) == "ImportError: no a / b in c.so"
    with pytest.raises(environments.DidNotRun, match=r"^training: bad$"):
        environments.call([sys.executable, "-c", "raise SystemExit('bad')"], "training")
    with pytest.raises(environments.DidNotRun, match=r"^training: .*No such file.*: 'python'$"):
        environments.call(["/nowhere/bin/python"], "training")


def test_a_peers_python_reads_the_clock_and_the_family_with_no_package_of_ours(root):
    modules = "benchmark_contestants, benchmark_families, benchmark_llamafactory, benchmark_litgpt"
    code = f"import sys; sys.path.insert(0, {str(root / 'scripts')!r}); import {modules}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd=root)


def test_all_that_differs_from_the_settings_of_everybody_is_named_in_the_table(others, root):
    factory = importlib.import_module("benchmark_llamafactory")
    assert {name for name in others.PEERS if name.startswith("llama")} == set(factory.CHANGES)
    for name, peer in others.PEERS.items():
        assert (root / "scripts" / peer.program).is_file()
        for setting in factory.CHANGES.get(name, {}):
            assert setting in others.TITLES[name]


def row_of(page, name):
    (line,) = [line for line in page.splitlines() if re.match(rf"\| {name}", line)]
    return line
