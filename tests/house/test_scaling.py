"""The scaling page: formulae give what is worked out by hand, tables are what commands print."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def simulator(root: Path):
    spec = importlib.util.spec_from_file_location("simulated", root / "scripts/simulate_scaling.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulated"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulated"]


@pytest.fixture
def training(simulator):
    return simulator.Training(
        method="full", total=1e9, trained=1e9, layers=10, hidden=1000, tokens=1000, sequence=100
    )


@pytest.fixture
def cluster(simulator):
    return simulator.Cluster(
        peak=1e15, achieved=0.5, gpus_per_node=4, intra_bandwidth=1e11, intra_latency=0.0,
        inter_bandwidth=1e10, inter_latency=0.0,
    )  # fmt: skip


def test_one_gpu_exchanges_nothing(simulator, training, cluster):
    for method in simulator.METHODS:
        step = simulator.predict(replace(training, method=method), cluster, 1)
        assert step.bytes_sent == step.exchange == 0


def test_full_fine_tuning_sends_its_gradients_twice_but_for_the_own_part(
    simulator, training, cluster
):
    # 4 GB of gradients; two GPUs at 100 GB/s: 2 · 1/2 · 4 GB = 4 GB in 40 ms
    step = simulator.predict(training, cluster, 2)
    assert step.bytes_sent == pytest.approx(4e9)
    assert step.exchange == pytest.approx(0.04)
    # 6 · 1e9 + 12 · 10 · 1000 · 100 operations for each of 1,000 tokens at 5e14 a second
    assert step.compute == pytest.approx((6e9 + 1.2e7) * 1000 / 5e14)


def test_a_second_node_adds_the_slow_way_for_a_share_of_the_gradients(simulator, training, cluster):
    # inside: 2 · 3/4 · 4 GB at 100 GB/s; between: 2 · 1/2 · 1 GB at 10 GB/s
    assert simulator.predict(training, cluster, 8).exchange == pytest.approx(0.06 + 0.1)


def test_an_adapter_sends_its_own_gradients_alone(simulator, training, cluster):
    adapter = replace(training, method="lora", trained=1e6)
    assert simulator.predict(adapter, cluster, 2).bytes_sent == pytest.approx(4e6)
    compute = simulator.predict(adapter, cluster, 2).compute
    assert compute == pytest.approx((4e9 + 2e6 + 1.2e7) * 1000 / 5e14)


def test_zero3_sends_half_as_much_again_when_all_travels_in_one_type(simulator, training, cluster):
    sharded = replace(training, method="zero3", weight_bytes=4)
    many, copies = (simulator.predict(t, cluster, 1024).bytes_sent for t in (sharded, training))
    assert many / copies == pytest.approx(3 / 2)  # 3 Ψ against 2 Ψ


def test_contrastive_batches_add_embeddings_and_a_square_of_rows(simulator, training, cluster):
    coupled = replace(training, method="contrastive", width=500)
    few, many = (simulator.predict(coupled, cluster, n) for n in (2, 64))
    plain = simulator.predict(training, cluster, 64)
    rows = 64 * 10
    assert many.bytes_sent - plain.bytes_sent == pytest.approx(63 / 64 * 2 * rows * 500 * 4)
    work = (many.compute - few.compute) * 5e14
    assert work == pytest.approx(6 * 500 * (rows**2 - 20**2), rel=1e-6)


def test_messages_cost_time_too_and_a_tree_needs_fewer(simulator):
    assert simulator.all_reduce(0, 2, 1e9, 1e-3) == pytest.approx(2e-3)
    assert simulator.all_reduce(0, 64, 1e9, 1e-3) == pytest.approx(12e-3)  # not 2 · 63


def test_sharing_the_same_tokens_out_ends_at_the_exchange(simulator, training, cluster):
    one, many = (simulator.predict(training, cluster, n, strong=True) for n in (1, 512))
    assert many.compute == pytest.approx(one.compute / 512)
    assert many.seconds > many.exchange > 0.1
    assert simulator.efficiency(one, many, strong=True) < 0.01


def test_hiding_the_exchange_helps_and_never_makes_it_less_than_its_last_piece(
    simulator, training, cluster
):
    slow = replace(training, tokens=100_000)
    plain, hidden = (simulator.predict(slow, cluster, 8, overlap=o) for o in (False, True))
    assert hidden.exchange == pytest.approx(plain.exchange / slow.layers)


def test_a_measured_step_replaces_the_peak(simulator, training, cluster):
    step = simulator.predict(training, cluster, 2, compute=0.5)
    assert step.compute == pytest.approx(0.5)
    assert step.seconds == pytest.approx(0.54)


def page_commands(text: str) -> list[tuple[str, str]]:
    """Return each command of the page with the table below it."""
    return re.findall(r"```bash\n(python scripts/simulate_scaling[^`]*)```\n\n((?:\|.*\n)+)", text)


def test_the_tables_of_the_page_are_what_the_commands_print(root):
    found = page_commands((root / "docs" / "scaling.md").read_text("utf-8"))
    assert len(found) >= 4
    for command, table in found:
        words = command.replace("\\\n", " ").split()
        said = subprocess.run(
            [sys.executable, *words[1:]], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        assert said == table, command
