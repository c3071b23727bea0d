"""Predict what 1 to 1,024 GPUs exchange in a training step, how long it takes, how well it scales.

    python scripts/simulate_scaling.py --method full --total 0.11e9 --trained 0.11e9 --tokens 8192
    python scripts/simulate_scaling.py --method zero3 --total 8e9 --trained 8e9 --scaling strong

Nothing here is measured on a GPU: peak, achieved share, bandwidths and latencies are what you give.
Bytes are those that one rank sends. Formulae and where they are from:

* computing, floating-point operations for each token: 6 P for full fine-tuning (2 P forward, 4 P
  backward; Kaplan et al. 2020, §2.1) and 4 P + 2 T for an adapter of T parameters, whose base needs
  no gradient of its weights; attention adds 12 · layers · hidden · sequence (Narayanan et al.
  2021);
* ring all-reduce of B bytes: 2 (n-1)/n · B and 2 (n-1) messages (Patarasuk & Yuan 2009); a tree
  sends 2 B in 2 ⌈log2 n⌉ messages (NCCL 2.4, Jeaugey 2019); the faster is taken. All-gather and
  reduce-scatter: (n-1)/n · B, n-1 messages;
* several nodes of g GPUs, each GPU with its own way out: reduce-scatter inside the node, all-reduce
  of B/g between the nodes, all-gather inside (hierarchical all-reduce; Goyal et al. 2017, §4);
* ZeRO-3, as FSDP does it: weights gathered forward and backward, gradients reduce-scattered, in all
  3 Ψ against 2 Ψ of data parallelism (Rajbhandari et al. 2020, §7.2.2);
* contrastive batches: all embeddings to all ranks, then the loss over all R rows on every rank,
  3 · 2 · R² · width operations, and each row embedded twice (GradCache, Gao et al. 2021: 8 P).

Gradients are exchanged after the last backward pass, as `finetune` does; the last column shows what
hiding the exchange behind the backward pass would give (Li et al. 2020).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields, replace

import numpy as np

METHODS = ("lora", "full", "zero3", "contrastive")
SIZES = 2 ** np.arange(11)
FLOAT = 4
"""Bytes of a gradient or an embedding on its way: fp32."""
AGREEMENTS = 5
"""Messages of a few bytes in a step: units, loss, signal, memory, which parameters took part."""


@dataclass(frozen=True)
class Cluster:
    """Machines: what one GPU computes and how GPUs are joined."""

    peak: float = 312e12
    """Operations per second of one GPU, as its maker states."""
    achieved: float = 0.4
    """Share of the peak that training reaches on one GPU (MFU)."""
    gpus_per_node: int = 8
    """GPUs that share a node."""
    intra_bandwidth: float = 200e9
    """Bytes per second each way of a GPU within a node."""
    intra_latency: float = 5e-6
    """Seconds for a message within a node."""
    inter_bandwidth: float = 25e9
    """Bytes per second each way of a GPU to other nodes."""
    inter_latency: float = 15e-6
    """Seconds for a message between nodes."""


@dataclass(frozen=True)
class Training:
    """A step of one rank."""

    method: str = "lora"
    """lora and full: whole copies; zero3: sharded; contrastive: whole copies, coupled rows."""
    total: float = 8e9
    """Parameters of the model."""
    trained: float = 4e7
    """Parameters that have gradients."""
    hidden: int = 4096
    """Width of the model."""
    layers: int = 32
    """Layers of the model."""
    tokens: float = 8192
    """Tokens of one GPU in a step; with strong scaling, of all GPUs together."""
    sequence: int = 512
    """Tokens of a row."""
    width: int = 512
    """Width of an embedding (contrastive)."""
    micro_batches: int = 1
    """Pieces that a rank's share of a step is cut into."""
    weight_bytes: int = 2
    """Bytes of a weight that is gathered (ZeRO-3)."""
    overhead: float = 0.0
    """Seconds of a step that neither more GPUs nor fewer tokens change."""


@dataclass(frozen=True)
class Step:
    """What a step costs one rank."""

    gpus: int
    bytes_sent: float
    compute: float
    exchange: float
    seconds: float


def ways(n: int, cluster: Cluster) -> tuple[int, int]:
    """Return how many GPUs of a node and how many nodes take part."""
    inside = min(n, cluster.gpus_per_node)
    return inside, math.ceil(n / inside)


def all_reduce(size: float, n: int, bandwidth: float, latency: float) -> float:
    """Return the seconds of an all-reduce among equals, by a ring or a tree."""
    if n == 1:
        return 0.0
    ring = 2 * (n - 1) / n * size / bandwidth + 2 * (n - 1) * latency
    tree = 2 * size / bandwidth + 2 * math.ceil(math.log2(n)) * latency
    return min(ring, tree)


def gather(size: float, n: int, bandwidth: float, latency: float) -> float:
    """Return the seconds of an all-gather or reduce-scatter of `size` bytes in all."""
    return (n - 1) / n * size / bandwidth + (n - 1) * latency


def reduce_everywhere(size: float, n: int, cluster: Cluster) -> float:
    """Return the seconds of a hierarchical all-reduce over n GPUs."""
    inside, nodes = ways(n, cluster)
    near, far = cluster.intra_bandwidth, cluster.inter_bandwidth
    if nodes == 1:
        return all_reduce(size, inside, near, cluster.intra_latency)
    within = 2 * gather(size, inside, near, cluster.intra_latency)
    return within + all_reduce(size / inside, nodes, far, cluster.inter_latency)


def gather_everywhere(size: float, n: int, cluster: Cluster) -> float:
    """Return the seconds of a hierarchical all-gather or reduce-scatter over n GPUs."""
    inside, nodes = ways(n, cluster)
    return gather(size, inside, cluster.intra_bandwidth, cluster.intra_latency) + gather(
        size / inside, nodes, cluster.inter_bandwidth, cluster.inter_latency
    )


def operations(training: Training, tokens: float, n: int) -> float:
    """Return the floating-point operations of one rank in a step."""
    total, trained = training.total, training.trained
    weights = 6 * total if trained > total / 2 else 4 * total + 2 * trained
    if training.method == "contrastive":
        weights += 2 * total  # every row is embedded twice
    attention = 12 * training.layers * training.hidden * training.sequence
    found = (weights + attention) * tokens
    if training.method == "contrastive":
        rows = n * tokens / training.sequence
        found += 6 * rows**2 * training.width
    return found


def bytes_sent(training: Training, n: int, tokens: float) -> float:
    """Return the bytes that one rank sends in a step; a few dozen for agreements left out."""
    share = (n - 1) / n
    gradients = FLOAT * training.trained
    if training.method == "zero3":
        weights = 2 * training.micro_batches * training.weight_bytes * training.total
        return share * (weights + gradients)
    found = 2 * share * gradients
    if training.method == "contrastive":
        found += share * embedding_bytes(training, n, tokens)
    return found


def embedding_bytes(training: Training, n: int, tokens: float) -> float:
    """Return the bytes of the embeddings of all rows, two of each."""
    return 2 * n * tokens / training.sequence * training.width * FLOAT


def predict(
    training: Training,
    cluster: Cluster,
    n: int,
    *,
    strong: bool = False,
    overlap: bool = False,
    compute: float | None = None,
) -> Step:
    """Return what a step costs on n GPUs.

    Args:
        training: The step.
        cluster: The machines.
        n: GPUs.
        strong: Share the same tokens out, instead of giving each GPU as many.
        overlap: Hide the exchange behind the backward pass, but for its last piece.
        compute: Measured seconds of one GPU's step, instead of those from `peak`.
    """
    tokens = training.tokens / n if strong else training.tokens
    speed = cluster.peak * cluster.achieved
    if compute is not None:
        speed = operations(training, training.tokens, 1) / compute
    computing = operations(training, tokens, n) / speed
    latency = cluster.inter_latency if n > cluster.gpus_per_node else cluster.intra_latency
    exchange = 0.0
    if n > 1:
        agreeing = AGREEMENTS * 2 * math.ceil(math.log2(n)) * latency
        gradients = FLOAT * training.trained
        if training.method == "zero3":
            layer = training.weight_bytes * training.total / training.layers
            passes = 2 * training.micro_batches * training.layers
            exchange = passes * gather_everywhere(layer, n, cluster)
            exchange += gather_everywhere(gradients, n, cluster)
        else:
            exchange = reduce_everywhere(gradients, n, cluster)
        if training.method == "contrastive":
            exchange += gather_everywhere(embedding_bytes(training, n, tokens), n, cluster)
        hidden = 0.0
        if overlap:
            behind = computing * (1.0 if training.method == "zero3" else 2 / 3)
            hidden = min(exchange * (1 - 1 / training.layers), behind / training.micro_batches)
        exchange += agreeing - hidden
    seconds = computing + exchange + training.overhead
    return Step(n, bytes_sent(training, n, tokens), computing, exchange, seconds)


def efficiency(one: Step, many: Step, *, strong: bool) -> float:
    """Return which share of the GPUs' time is not lost by being many."""
    return one.seconds / many.seconds / (many.gpus if strong else 1)


def table(training: Training, cluster: Cluster, *, strong: bool) -> str:
    """Return the prediction for every number of GPUs as Markdown."""
    lines = [
        "| GPUs | sent per rank | computing, s | exchange, s | step, s | efficiency | overlapped |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    one = predict(training, cluster, 1, strong=strong)
    for n in map(int, SIZES):
        step = predict(training, cluster, n, strong=strong)
        hiding = predict(training, cluster, n, strong=strong, overlap=True)
        lines.append(
            f"| {n:,} | {readable(step.bytes_sent)} | {step.compute:.4f} | {step.exchange:.4f} "
            f"| {step.seconds:.4f} | {efficiency(one, step, strong=strong):.1%} "
            f"| {efficiency(one, hiding, strong=strong):.1%} |"
        )
    return "\n".join(lines)


def readable(size: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def main() -> None:
    """Print the table that the arguments ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind in (Training, Cluster):
        for item in fields(kind):
            name = f"--{item.name.replace('_', '-')}"
            choices = METHODS if item.name == "method" else None
            convert = {"int": int, "float": float}.get(str(item.type), str)
            parser.add_argument(name, type=convert, default=item.default, choices=choices)
    parser.add_argument("--scaling", choices=("weak", "strong"), default="weak")
    given = vars(parser.parse_args())
    strong = given.pop("scaling") == "strong"
    known = {item.name for item in fields(Training)}
    training = replace(Training(), **{key: given[key] for key in known})
    cluster = replace(Cluster(), **{key: given[key] for key in set(given) - known})
    print(table(training, cluster, strong=strong))


if __name__ == "__main__":
    main()
