"""Train the same chats with ours and with peers that need an environment of their own.

    python scripts/benchmark_others.py --rounds 3 --json others.json

Peers are LLaMA-Factory, as it is and without recomputing activations, and LitGPT. They train the
family `gpt-lora` of `benchmark_families.py`: the same checkpoint, token ids, batches, optimiser and
threads, each in a fresh process, one after the other in each round. An environment that isn't there
is made under `--environments`, with the torch of this one; where that is a torch for the CPU,
`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` tells pip where it is. A peer that can't
be installed or run has a row with the reason, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmark
from benchmark_contestants import steady
from benchmark_environments import DidNotRun, call, install
from benchmark_families import FAMILIES, SEED, prepare

HERE = Path(__file__).resolve().parent
FAMILY = FAMILIES["gpt-lora"]
ENVIRONMENTS = Path("~/.cache/finetune/benchmark")
MEDIANS = (
    "tokens_per_cpu_second",
    "tokens_per_second",
    "first_step_seconds",
    "peak_rss_mb",
    "loss",
)
TOLD = ("llamafactory", "litgpt", "torch", "transformers", "trl", "peft", "accelerate", "lightning")
"""Packages whose versions stand under the table."""


@dataclass(frozen=True)
class Peer:
    """A contestant, and what `benchmark_environments.install` is told for it."""

    name: str
    title: str
    package: str
    program: str
    without: tuple[str, ...] = ()
    stubs: tuple[str, ...] = ()


VISION_AND_SOUND = ("torchvision", "torchaudio")
PEERS = {
    peer.name: peer
    for peer in (
        Peer("llamafactory", "LLaMA-Factory, defaults", "llamafactory==0.9.5",
             "benchmark_llamafactory.py", VISION_AND_SOUND, ("torchaudio",)),
        Peer("llamafactory-best", "LLaMA-Factory, `disable_gradient_checkpointing: true`",
             "llamafactory==0.9.5", "benchmark_llamafactory.py", VISION_AND_SOUND,
             ("torchaudio",)),
        Peer("litgpt", "LitGPT, `finetune_lora`", "litgpt==0.5.13", "benchmark_litgpt.py"),
    )
}  # fmt: skip
TITLES = {**{name: peer.title for name, peer in PEERS.items()}, "ours": "**finetune**"}
NOTES = """\
Tokens are those that are no padding, from the end of the second step to the end of the last; each
contestant's are those that it trained on itself. Not equal: LLaMA-Factory pads to a multiple of 8
and LitGPT to the longest row, as they do by themselves, and ours doesn't pad; LitGPT has model code
of its own, and its verb has neither clipping nor a linear schedule, which our wrapper adds; peers'
memory is taken at the end of the last step, ours at the end of the process.
"""


def folder_of(peer: Peer, environments: Path) -> Path:
    """Return where the environment of a peer is: one for each version, shared by its settings."""
    return environments / peer.package.replace("==", "-")


def run(peer: Peer, folder: Path, environments: Path, threads: int) -> dict[str, Any]:
    """Let a peer train in a fresh process, and return what it measured.

    Raises:
        DidNotRun: It failed, or left steps out.
    """
    place = folder_of(peer, environments)
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    program = [place / "bin" / "python", HERE / peer.program]
    around = {**benchmark.environment(threads, folder), "PYTHONPATH": str(place / "stubs")}
    prepared = folder / f"prepared-{peer.package}"
    if not prepared.is_file():
        call([*program, "prepare", peer.name, folder], "preparing", cwd=folder, env=around)
        prepared.touch()
    shutil.rmtree(folder / peer.name, ignore_errors=True)  # of the round before
    words = [*program, "train", peer.name, folder, repr(time.time()), result]
    call(words, "training", cwd=folder, env=around)
    return judged(peer.name, json.loads(result.read_text("utf-8")))


def judged(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return a peer's figures from its clock.

    Raises:
        DidNotRun: Its steps aren't those of its tokens, or its loss is no number.
    """
    ends = [(wall, cpu) for wall, cpu in found.pop("ends")]
    tokens = found.pop("tokens")
    if len(ends) != len(tokens) or not math.isfinite(found["loss"]):
        raise DidNotRun(f"{len(ends)} steps of {len(tokens)}, mean loss {found['loss']}")
    return {
        "contestant": name,
        "steps": len(ends),
        **steady(ends, tokens),
        "first_step_seconds": ends[0][0],
        "tokens": sum(tokens),
        **found,
    }


def ours(folder: Path, steps: int, threads: int) -> dict[str, Any]:
    """Let our side train, as `benchmark.py` does, and return what it measured."""
    found = benchmark.run(replace(FAMILY, steps=steps), "ours", folder, threads)
    rows = json.loads((folder / "encoded.json").read_text("utf-8"))
    return {**found, "tokens": sum(row["length"] for row in rows)}


def summary(
    measurements: Sequence[Mapping[str, Any]], failures: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return a row for each contestant: medians and how many times as fast ours is, or why not."""
    rows = []
    for name in dict.fromkeys([*(m["contestant"] for m in measurements), *failures]):
        own = [m for m in measurements if m["contestant"] == name]
        if name in failures:
            rows.append({"contestant": name, "did_not_run": failures[name]})
            continue
        speeds = [m["tokens_per_cpu_second"] for m in own]
        rows.append({
            "contestant": name,
            **{key: statistics.median(m[key] for m in own) for key in MEDIANS},
            **{key: own[0][key] for key in ("steps", "tokens", "trainable_parameters")},
            "spread": [min(speeds), max(speeds)],
        })  # fmt: skip
    base = next(row for row in rows if row["contestant"] == "ours")
    for row in rows:
        if "did_not_run" not in row:
            row["void"] = reason_against(row, base)
            row["ours_is"] = base["tokens_per_cpu_second"] / row["tokens_per_cpu_second"]
            row["ours_is_by_clock"] = base["tokens_per_second"] / row["tokens_per_second"]
    return sorted(rows, key=lambda row: row["contestant"] == "ours")


def reason_against(row: Mapping[str, Any], base: Mapping[str, Any]) -> str | None:
    """Return why a row is no comparison with ours, if it is none."""
    for key, what in (("steps", "steps"), ("trainable_parameters", "weights")):
        if row[key] != base[key]:
            return f"{row[key]:,} {what}, ours {base[key]:,}"
    is_same_work = row["tokens"] == base["tokens"]
    if is_same_work and not abs(row["loss"] - base["loss"]) <= benchmark.AGREE * abs(base["loss"]):
        return f"mean loss {row['loss']:.4f}, ours {base['loss']:.4f}"
    return None


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown, and under it what isn't equal."""
    head = (
        "contestant", "tokens per CPU s", "(lowest to highest)", "tokens per s", "peak RSS, MB",
        "mean loss", "tokens trained", "finetune is", "by the clock",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    ours_tokens = next(row["tokens"] for row in rows if row["contestant"] == "ours")
    for row in rows:
        if "did_not_run" in row:
            cells = [f"did not run: {row['did_not_run']}", *[""] * (len(head) - 2)]
        else:
            others = "" if row["tokens"] == ours_tokens else ", so per token of its own"
            ratios = [f"×{row['ours_is']:.2f}", f"×{row['ours_is_by_clock']:.2f}"]
            cells = [
                f"{row['tokens_per_cpu_second']:,.0f}",
                "{:,.0f} to {:,.0f}".format(*row["spread"]),
                f"{row['tokens_per_second']:,.0f}",
                f"{row['peak_rss_mb']:,.0f}",
                f"{row['loss']:.4f}",
                f"{row['tokens']:,}{others}",
                *([f"void: {row['void']}", ""] if row["void"] else ratios),
            ]
        lines.append(f"| {' | '.join([TITLES[row['contestant']], *cells])} |")
    return "\n".join(lines) + f"\n\n{NOTES}"


def one_round(
    number: int,
    contestants: Sequence[str],
    train: Callable[[str], dict[str, Any]],
    failures: dict[str, str],
) -> list[dict[str, Any]]:
    """Return the measurements of a round; who fails is noted, and isn't asked again."""
    found = []
    for contestant in contestants:
        if contestant in failures:
            continue
        load = round(os.getloadavg()[0], 1)
        try:
            measured = train(contestant)
        except DidNotRun as reason:
            failures[contestant] = str(reason)
            sys.stderr.write(f"round {number + 1}  {contestant:18} did not run: {reason}\n")
            continue
        found.append({"round": number, "load": load, **measured, "contestant": contestant})
        sys.stderr.write(
            f"round {number + 1}  {contestant:18} {measured['tokens_per_cpu_second']:6.0f} "
            f"tokens per CPU second, load {load}\n"
        )
    return found


def main() -> None:
    """Measure, print the table, and write the JSON after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    parser.add_argument("--json", type=Path, help="where measurements are written")
    given = parser.parse_args()
    environments = given.environments.expanduser().resolve()
    measurements: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {"ours": benchmark.versions()}
    for peer in (PEERS[name] for name in given.peers):
        try:
            place = folder_of(peer, environments)
            versions[peer.name] = install(place, peer.package, peer.without, peer.stubs)
        except DidNotRun as reason:
            failures[peer.name] = str(reason)
    with tempfile.TemporaryDirectory(prefix="finetune-benchmark-") as name:
        sys.path.insert(0, str(HERE.parent))
        folder = Path(name) / FAMILY.name
        prepare(replace(FAMILY, steps=given.steps), folder)

        def train(contestant: str) -> dict[str, Any]:
            if contestant == "ours":
                return ours(folder, given.steps, given.threads)
            return run(PEERS[contestant], folder, environments, given.threads)

        for number in range(given.rounds):
            measurements += one_round(number, [*given.peers, "ours"], train, failures)
            report = {
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                "machine": benchmark.machine(),
                "settings": {"rounds": number + 1, "threads": given.threads, "seed": SEED},
                "versions": versions,
                "rows": summary(measurements, failures),
                "measurements": measurements,
            }
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(table(report["rows"]))
    for name, found in versions.items():
        print(f"{name}: " + ", ".join(f"{p} {found[p]}" for p in TOLD if p in found))


if __name__ == "__main__":
    main()
