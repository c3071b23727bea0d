"""From the measurements of `benchmark.py` to docs/speed.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import benchmark_dpo
from benchmark_families import family_of
from benchmark_models import SHAPES

INTRODUCTION = (
    "The same rows trained by this project and by what people would use instead, on one machine, "
    "measured by one command. Where this project is slower, the table says so."
)
MARK = "<!-- Below this line is written by hand; benchmark.py keeps it. -->"
NAMES = {
    "hf": "transformers `Trainer`",
    "hf-best": "transformers `Trainer`, best settings",
    "trl": "TRL `SFTTrainer`, defaults",
    "trl-best": "TRL `SFTTrainer`, best settings",
    "trl-liger": "TRL `SFTTrainer` with Liger's kernels",
    **benchmark_dpo.NAMES,
    "ours": "**finetune**",
    "ours-padded": "finetune, `train.padding_free=false`",
    "ours-anew": "finetune, `train.frozen_cache=false`",
    "ours-keyed": "finetune, `train.absorbed_attention=false`",
    "ours-short": "finetune, `model.audio_context=auto` (another function)",
}
TARGET = 2.0
"""How many times as fast as the best peer we mean to be."""
HEAD = (
    "contestant", "{unit} per CPU s", "(lowest to highest)", "{unit} per s", "first step, s",
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
        family = family_of(name)
        parts.append(
            f"## {family.title}\n\n{rows[0]['steps']} steps of {family.batch} rows, "
            f"{rows[0]['trainable_parameters']:,} weights trained"
            f"{counted(family)}.\n\n{table(rows, family.unit)}"
            f"{afterwards(rows)}"
            f"{utilisations(rows, report['machine']['gpu'])}"
        )
    parts += [METHOD, MARK]
    own = before.partition(MARK)[2].strip()
    return "\n\n".join([*parts, own] if own else parts) + "\n"


def where(report: Mapping[str, Any]) -> str:
    """Return on what, when, how often and with which versions it was measured."""
    machine, settings = report["machine"], report["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['date']}, {machine['cores']} cores ({machine['processor']}), "
        f"{graphics(machine['gpu'])}, "
        f"{settings['threads']} thread{'s' * (settings['threads'] > 1)}, medians of "
        f"{settings['rounds']} round{'s' * (settings['rounds'] > 1)}, {report['minutes']} minutes. "
        f"Other work shared the cores (load {machine['load']}), so that CPU time is what to look "
        f"at; seconds by the clock are those of a busy machine. {versions}."
    )


def graphics(gpu: Mapping[str, Any] | None) -> str:
    """Return on what GPU it was measured, and what that reaches."""
    if gpu is None:
        return "no GPU"
    return f"{gpu['name']} ({gpu['matmul_tflops']} TFLOP/s reached in bf16 matrix products)"


def utilisation(row: Mapping[str, Any], gpu: Mapping[str, Any]) -> float:
    """Return the share of the reached matrix products: four operations a trunk weight and token.

    That of LoRA without recomputation (forward, and the gradient of the states); attention, the
    head and the adapters are left out, so that the true share is a little higher.
    """
    s = SHAPES[family_of(row["family"]).shape]
    heads, width = s["num_attention_heads"], s["hidden_size"]
    attention = 2 * width * width * (1 + s["num_key_value_heads"] / heads)
    trunk = s["num_hidden_layers"] * (attention + 3 * width * s["intermediate_size"])
    return float(4 * trunk * row["tokens_per_second"] / (gpu["matmul_tflops"] * 1e12))


def afterwards(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on the epochs after the first; none where there are none."""
    rates = {row["contestant"]: row["later_epochs"] for row in rows}
    if rates["ours"] is None:
        return ""
    best = max(rate for name, rate in rates.items() if not name.startswith("ours"))
    return f"\n\nIn the epochs after the first: ×{rates['ours'] / best:.2f} the best peer."


def utilisations(rows: Sequence[Mapping[str, Any]], gpu: Mapping[str, Any] | None) -> str:
    """Return a sentence on the share of the GPU that each contestant uses; none without a GPU."""
    if gpu is None or family_of(rows[0]["family"]).shape not in SHAPES:
        return ""
    shares = ", ".join(f"{NAMES[r['contestant']]} {utilisation(r, gpu):.0%}" for r in rows)
    return f"\n\nShare of the matrix products that the GPU reaches: {shares}."


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in one sentence each where the target is reached and where it is not."""
    found = [(family_of(row["family"]).title, row) for row in rows if row["contestant"] == "ours"]
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


def counted(family: Any) -> str:
    """Return what is counted beside the steps, where it is more."""
    return ", counted with what comes before the first" if family.is_counted_whole else ""


def rate(value: float) -> str:
    """Return a rate with as many digits as it has to tell."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def table(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Return a family's table."""
    lines = [f"| {' | '.join(HEAD)} |".replace("{unit}", unit), f"|---|{'--:|' * (len(HEAD) - 1)}"]
    for row in rows:
        low, high = row["spread"]
        ratios = (
            (f"void: {row['void']}", "")
            if row["void"]
            else (f"×{row['ratio']:.2f}", f"×{row['ratio_by_clock']:.2f}")
        )
        cells = (
            NAMES[row["contestant"]],
            rate(row["tokens_per_cpu_second"]),
            f"{rate(low)} to {rate(high)}",
            rate(row["tokens_per_second"]),
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
  Llama of 4 (and once of 152,000 words); 8,000 words, fp32, no dropout. CLIP has 4 and 4 layers of
  the widths 384 and 256, in the proportion of CLIP-B, 224 x 224 pixels in squares of 16, once of
  32; Whisper 4 and 4 layers of width 384 and 51,865 words. What a large model gains is another
  question; matrix products take a larger share there.
- **Rows** are random words of lognormal lengths: sentences (median 24 tokens, at most 128) for
  BERT, sources of 64 (at most 256) and targets of 16 for T5, chats of 180 (at most 1,000), of
  which the answer, about 55 %, carries loss; for preferences questions of 96 (at most 512) and two
  answers of 48; captions of 3 to 7 words on photographs of 480 x 320; noise of 2 to 12 seconds.
- **The same for all**: the checkpoint, token ids made by our task, the rows of every batch and
  their order, one forward pass for each optimiser step, fused AdamW, learning rate 1e-4 falling
  to 0, clipping at 1; LoRA of rank 8 on all linear layers; threads and `OMP_WAIT_POLICY=PASSIVE`.
  Nobody evaluates. Ours runs its own train stage, with its checks and a line of log for each
  step, and sets before torch is imported what its command sets, which is its default. Of several
  epochs, those of pictures and sound have our batches for all, written out; of preferences the
  first has.
- **Peers**: `Trainer` with `DataCollatorWithPadding` or `DataCollatorForSeq2Seq`, and PEFT for
  LoRA; `SFTTrainer` with what it does by itself, which is recomputing activations, and at its
  best: `gradient_checkpointing=False, padding_free=True, max_length=None`; `DPOTrainer` by itself
  and with `gradient_checkpointing=False, precompute_ref_log_probs=True`. For CLIP, `Trainer` as in
  transformers' `run_clip.py` (captions padded to 77, pictures prepared for each batch), and at its
  best (captions padded to the longest, each picture prepared once, when it is first met, as ours
  are); for Whisper as in `run_speech_recognition_seq2seq.py`, each spectrogram computed once.
- **Tokens per second** are tokens that are no padding (of pictures and sound: rows), from the end
  of the second step to the end of the last, by the clock of one callback that all have. Where
  there are several epochs, the clock starts when model and rows are there, so that whatever is
  computed once for later epochs counts; **first step** is from the start of the process to the end
  of the first step, with tokens made before; **against best peer** compares units per CPU second
  with the fastest peer's. A row is void when its mean loss is more than 1 % off, or when it trains
  other weights."""
