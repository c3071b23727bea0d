"""From the measurements of `benchmark.py` to docs/speed.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark_families import FAMILIES

INTRODUCTION = (
    "The same rows trained by this project and by what people would use instead, on one machine, "
    "measured by one command. Where this project is slower, the table says so."
)
MARK = "<!-- Below this line is written by hand; benchmark.py keeps it. -->"
NAMES = {
    "hf": "transformers `Trainer`",
    "trl": "TRL `SFTTrainer`, defaults",
    "trl-best": "TRL `SFTTrainer`, best settings",
    "ours": "**finetune**",
    "ours-padded": "finetune, `train.padding_free=false`",
}
TARGET = 2.0
"""How many times as fast as the best peer we mean to be."""
HEAD = (
    "contestant", "tokens per CPU s", "(lowest to highest)", "tokens per s", "first step, s",
    "of it CPU", "peak RSS, MB", "mean loss", "against best peer", "by the clock",
)  # fmt: skip


def page(report: Mapping[str, Any], before: str = "") -> str:
    """Return the page; what stood below the mark is kept."""
    by_family: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        by_family.setdefault(row["family"], []).append(row)
    parts = [
        "# How fast is it?",
        INTRODUCTION,
        f"```bash\n{report['command']}\n```",
        where(report),
        verdict(report["rows"]),
    ]
    for name, rows in by_family.items():
        family = FAMILIES[name]
        parts.append(
            f"## {family.title}\n\n{rows[0]['steps']} steps of {family.batch} rows, "
            f"{rows[0]['trainable_parameters']:,} weights trained.\n\n{table(rows)}"
        )
    parts += [METHOD, MARK]
    own = before.partition(MARK)[2].strip()
    return "\n\n".join([*parts, own] if own else parts) + "\n"


def where(report: Mapping[str, Any]) -> str:
    """Return on what, when, how often and with which versions it was measured."""
    machine, settings = report["machine"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['date']}, {machine['cores']} cores ({machine['processor']}), no GPU, "
        f"{settings['threads']} thread{'s' * (settings['threads'] > 1)}, medians of "
        f"{settings['rounds']} round{'s' * (settings['rounds'] > 1)}, {report['minutes']} minutes. "
        f"Other work shared the cores (load {machine['load']}), so that CPU time is what to look "
        f"at; seconds by the clock are those of a busy machine. {versions}."
    )


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in one sentence each where the target is reached and where it is not."""
    found = [(FAMILIES[row["family"]].title, row) for row in rows if row["contestant"] == "ours"]
    valid = [(title, row["ratio"]) for title, row in found if not row["void"]]
    groups = (
        (f"At least ×{TARGET:g} the best peer", [p for p in valid if p[1] >= TARGET]),
        (f"Faster, but short of ×{TARGET:g}", [p for p in valid if 1 <= p[1] < TARGET]),
        ("Slower than the best peer", [p for p in valid if p[1] < 1]),
        ("No comparison", [(title, None) for title, row in found if row["void"]]),
    )
    return "\n".join(
        f"- {name}: "
        + "; ".join(f"{t} ×{r:.2f}" if r is not None else f"{t}" for t, r in members)
        + "."
        for name, members in groups
        if members
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a family's table."""
    lines = [f"| {' | '.join(HEAD)} |", f"|---|{'--:|' * (len(HEAD) - 1)}"]
    for row in rows:
        low, high = row["spread"]
        ratios = (
            (f"void: {row['void']}", "")
            if row["void"]
            else (f"×{row['ratio']:.2f}", f"×{row['ratio_by_clock']:.2f}")
        )
        cells = (
            NAMES[row["contestant"]],
            f"{row['tokens_per_cpu_second']:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{row['first_step_seconds']:.1f}",
            f"{row['first_step_cpu_seconds']:.1f}",
            f"{row['peak_rss_mb']:,.0f}",
            f"{row['loss']:.4f}",
            *ratios,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


METHOD = """## How it is measured

- **Models** have random weights of a fixed seed: BERT of 4 layers and width 256, T5 of 4 and 4, a
  Llama of 4; 8,000 words, fp32, no dropout. What a large model gains is another question; matrix
  products take a larger share there.
- **Rows** are random words of lognormal lengths: sentences (median 24 tokens, at most 128) for
  BERT, sources of 64 (at most 256) and targets of 16 for T5, chats of 180 (at most 1,000), of
  which the answer, about 55 %, carries loss.
- **The same for all**: the checkpoint, token ids made by our task, the rows of every batch and
  their order, one forward pass for each optimiser step, fused AdamW, learning rate 1e-4 falling
  to 0, clipping at 1; LoRA of rank 8 on all linear layers; threads and `OMP_WAIT_POLICY=PASSIVE`.
  Nobody evaluates. Ours runs its own train stage, with its checks and a line of log for each
  step, which is its default.
- **Peers**: `Trainer` with `DataCollatorWithPadding` or `DataCollatorForSeq2Seq`, and PEFT for
  LoRA; `SFTTrainer` with what it does by itself, which is recomputing activations, and at its
  best: `gradient_checkpointing=False, padding_free=True, max_length=None`.
- **Tokens per second** are tokens that are no padding, from the end of the second step to the end
  of the last, by the clock of one callback that all have; **first step** is from the start of the
  process to the end of the first step, with tokens made before; **against best peer** compares
  tokens per CPU second with the fastest peer's. A row is void when its mean loss is more than 1 %
  off, or when it trains other weights."""
