"""Measure steps of one and of two ranks on this machine beside what simulate_scaling.py predicts.

    python scripts/measure_scaling.py

Two processes, a thread each, train a small BERT with random weights on random tokens and take
turns: one alone, both apart (a step each at the same time, nothing exchanged), and both together,
their gradients added up after the backward pass as `finetune` does. A round takes seconds, so that
what else the machine does falls on all three; ratios are medians over the rounds, with quartiles.
The prediction knows one rank's step and the all-reduce alone, never the steps of the two together.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from simulate_scaling import Cluster, Training, predict

ROWS, TOKENS = 8, 64
"""Rows of each rank in a step, and tokens of each."""


def build(strategy: str) -> object:
    """Return a small BERT classifier, whole or with a LoRA adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
        intermediate_size=1024, num_labels=8,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    if strategy == "lora":
        lora = LoraConfig(r=16, target_modules=["query", "value"], task_type="SEQ_CLS")
        return get_peft_model(model, lora)
    return model


def median_seconds(action: Callable[[], None], times: int) -> float:
    """Return the median time of an action, after one that is not counted."""
    taken = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def measure(strategy: str, rounds: int, steps: int) -> None:
    """Be one of the two processes; the first prints what it found."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    model = build(strategy)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    tokens = torch.randint(0, 4000, (ROWS, TOKENS))
    labels = torch.randint(0, 8, (ROWS,))
    flat = torch.zeros(sum(p.numel() for p in trained))
    few = torch.zeros(2)

    def step(together: bool = False) -> None:
        optimizer.zero_grad()
        model(input_ids=tokens, labels=labels).loss.backward()
        if together:
            gradients = [p.grad for p in trained]
            whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
            distributed.all_reduce(whole)
            parts = whole.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        optimizer.step()

    found = []
    for _ in range(rounds):
        distributed.barrier()
        one = median_seconds(step, steps) if rank == 0 else 0.0
        distributed.barrier()
        apart = median_seconds(step, steps)
        distributed.barrier()
        two = median_seconds(lambda: step(together=True), steps)
        distributed.barrier()
        small = median_seconds(lambda: distributed.all_reduce(few), steps)
        large = median_seconds(lambda: distributed.all_reduce(flat), steps)
        found.append((one, apart, two, small, large))
    if rank == 0:
        total = sum(p.numel() for p in model.parameters())
        print(line(strategy, total, flat.numel(), found), flush=True)
    distributed.barrier()
    distributed.destroy_process_group()


def line(strategy: str, total: int, trained: int, found: list[tuple[float, ...]]) -> str:
    """Return the line of a strategy: medians of seconds, and of the ratios within a round."""
    medians = [statistics.median(column) for column in zip(*found, strict=True)]
    ratios: dict[str, list[float]] = {"measured": [], "predicted": [], "one": [], "apart": []}
    for one, apart, two, small, large in found:
        ratios["measured"].append(one / two)
        for name, alone in (("one", one), ("apart", apart)):
            seconds = expected(strategy, total, trained, alone, small, large)
            ratios[name].append(seconds / two)
            if name == "one":
                ratios["predicted"].append(one / seconds)
    cells = [f"{trained:,}", *(f"{1e3 * medians[i]:.2f}" for i in (4, 0, 1, 2))]
    cells += [f"{statistics.median(ratios['predicted']):.0%}", spread(ratios["measured"])]
    cells += [spread([value - 1 for value in ratios[name]], "+") for name in ("one", "apart")]
    return f"| {strategy} | {' | '.join(cells)} |"


def expected(
    strategy: str, total: int, trained: int, alone: float, small: float, large: float
) -> float:
    """Return the predicted seconds of a step of two ranks."""
    size = 4 * trained
    cluster = Cluster(
        gpus_per_node=2, intra_latency=small / 2, intra_bandwidth=size / max(large - small, 1e-9)
    )
    training = Training(method=strategy, total=total, trained=trained, layers=4, hidden=256)
    step = predict(training, cluster, 2, compute=alone)
    agreements = predict(Training(method=strategy, trained=0), cluster, 2, compute=alone)
    return step.seconds - agreements.exchange + small  # here nothing else is agreed on


def spread(values: list[float], sign: str = "") -> str:
    """Return the median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{sign}.0%} ({low:{sign}.0%} to {high:{sign}.0%})"


def main() -> None:
    """Print predicted and measured steps of two ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--strategy", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.strategy:
        measure(given.strategy, given.rounds, given.steps)
        return
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, no GPU,"
          f" load {os.getloadavg()[1]:.0f} from all processes, {given.rounds} rounds")  # fmt: skip
    heads = (
        "strategy", "trained", "all-reduce, ms", "one, ms", "apart, ms", "together, ms",
        "efficiency predicted", "measured", "error from one", "error from apart",
    )  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|---|{'--:|' * (len(heads) - 1)}", flush=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for strategy in ("lora", "full"):
        again = ["--strategy", strategy, "--rounds", str(given.rounds), "--steps", str(given.steps)]
        subprocess.run(
            [sys.executable, *launcher, __file__, *again],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
