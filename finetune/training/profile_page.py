"""A profile in words: where the time of training went, and what to try."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PARTS: dict[str, str] = {
    "data": "data: waiting for batches",
    "forward": "forward pass of the layers",
    "head and loss": "head and loss",
    "backward": "backward pass",
    "clipping": "clipping the gradient",
    "optimiser": "optimiser",
    "logging": "logging",
    "checkpoints": "checkpoints",
    "evaluation": "evaluation on validation rows",
    "python": "Python and the rest",
}
"""By name, what a part of training is called on the page."""
ITSELF = "profiling"
"""What measuring took, which a run that is not measured does without."""

KINDS: dict[str, str] = {
    "loss": r"log_softmax|nll_loss|cross_entropy|LabelledTokens|ChunkedLoss",
    "attention": r"attention|_softmax$|aten::softmax",
    "matrix products": r"(^|::|_)(addmm|mm|bmm|baddbmm|matmul|linear)_?\b|gemm|dot$",
    "optimiser": r"adam|sgd|adafactor|Optimizer\.",
    "norms and activations": r"norm|gelu|silu|relu|tanh|sigmoid|dropout",
    "copying and indexing": r"copy|clone|cat$|index|gather|embedding|zero_|fill_|empty|select",
}
"""Kinds of operators, by a pattern of torch's names; the first that fits counts."""

ADVICE: tuple[tuple[str, float, str], ...] = (
    ("data", 0.2, ("Training waits for data: raise `train.dataloader_num_workers`, and look for "
     "what is slow in making a batch (large pictures, augmentation, a network disk).")),
    ("evaluation", 0.25, ("Validation takes much of the time: fewer rows (`train.eval_max_rows`) "
     "or less often (`train.eval_strategy=steps train.eval_steps=N`).")),
    ("checkpoints", 0.1, ("Checkpoints take much of the time: save less often "
     "(`train.save_strategy`), on a faster disk, with `train.async_save=true`.")),
    ("logging", 0.05, ("Logging shows: raise `train.logging_steps`, or use fewer trackers.")),
    ("clipping", 0.1, ("Clipping shows: steps are short beside the number of weights; a larger "
     "`train.global_batch_size`, or LoRA, makes it matter less.")),
    ("optimiser", 0.15, ("The optimiser shows: `train.optim=adamw_torch_fused` is the fastest; "
     "a larger `train.global_batch_size` calls it less often, LoRA gives it less to do.")),
    ("head and loss", 0.3, ("Head and loss take much: of a large vocabulary only labelled tokens "
     "are computed; shorter answers or a smaller vocabulary would help.")),
    ("python", 0.25, ("Much is spent between the computations: steps are short. A larger "
     "`train.global_batch_size` and `train.micro_batch_size` make more of each.")),
)  # fmt: skip
"""Part, the share from which it is said, and what to try."""
COMPUTE = ("forward", "backward", "head and loss")
REACHED_WELL = 0.5


@dataclass(frozen=True)
class Measured:
    """What was measured of a run."""

    seconds: float
    """From the begin of training to its end."""
    parts: Mapping[str, float]
    """Seconds of each part but Python's, and of measuring itself."""
    steps: int
    """Steps trained."""
    device: str
    """Where."""
    operators: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each of torch's operators in the traced steps."""
    traced_steps: int = 0
    """How many steps were traced."""
    tokens: int = 0
    """Tokens that the layers had to see, without padding."""
    flops: float | None = None
    """What these tokens need at least; None where it isn't known."""
    rate: float | None = None
    """FLOP per second of a large matrix product, measured in this run."""

    @property
    def trained(self) -> float:
        """Seconds without those of measuring itself."""
        return self.seconds - self.parts.get(ITSELF, 0.0)

    def shares(self) -> dict[str, float]:
        """Return the share of each part in what training took; together they are 1."""
        known = {name: self.parts.get(name, 0.0) for name in PARTS if name != "python"}
        rest = self.trained - sum(known.values()) if self.seconds else 0.0
        whole = self.trained or 1.0
        return {name: value / whole for name, value in {**known, "python": rest}.items()}

    def reached(self) -> float | None:
        """Return which share of the measured rate forward and backward passes have reached."""
        busy = sum(self.parts.get(name, 0.0) for name in COMPUTE)
        return self.flops / (busy * self.rate) if self.flops and self.rate and busy else None


def kinds(operators: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each kind of operator."""
    found = dict.fromkeys([*KINDS, "other"], 0.0)
    for name, seconds in operators.items():
        kind = next((kind for kind, words in KINDS.items() if re.search(words, name)), "other")
        found[kind] += seconds
    return found


def advice(measured: Measured) -> list[str]:
    """Return what to try, what weighs most first."""
    shares = measured.shares()
    told = [(shares[part], text) for part, least, text in ADVICE if shares[part] >= least]
    sentences = [text for _, text in sorted(told, key=lambda pair: -pair[0])]
    reached = measured.reached()
    if reached is not None and sum(shares[name] for name in COMPUTE) > REACHED_WELL:
        if reached >= REACHED_WELL:
            sentences.append(
                "The passes run near what this machine can do: only less work makes it faster "
                "(LoRA, fewer layers trained, shorter rows, frozen parts that are kept)."
            )
        else:
            sentences.append(
                "The passes reach little of what this machine can do: products are small. Larger "
                "micro-batches (`train.micro_batch_size`) or a larger model use it better."
            )
    return sentences or ["Nothing stands out."]


def page(measured: Measured) -> str:
    """Return the page as Markdown."""
    shares, own = measured.shares(), measured.parts.get(ITSELF, 0.0)
    cause = max(shares, key=lambda name: shares[name])
    lines = [
        "# Where the time went",
        "",
        f"{measured.steps:,} steps on {measured.device} took {measured.trained:.1f} s"
        + (f", measuring itself {own:.1f} s beside." if own else "."),
        f"Most of it was {PARTS[cause]}: {shares[cause]:.0%}.",
        "",
        "| part | seconds | share |",
        "|---|---|---|",
    ]
    for name, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        lines.append(f"| {PARTS[name]} | {share * measured.trained:.2f} | {share:.1%} |")
    lines += [f"| together | {measured.trained:.2f} | {sum(shares.values()):.1%} |", ""]
    if measured.operators:
        found = kinds(measured.operators)
        whole = sum(found.values()) or 1.0
        lines += [
            f"## Inside {measured.traced_steps} traced steps",
            "",
            "Time within torch's operators; `trace.json` opens in chrome://tracing or Perfetto.",
            "",
            "| kind | share |",
            "|---|---|",
        ]
        for name, seconds in sorted(found.items(), key=lambda pair: -pair[1]):
            lines.append(f"| {name} | {seconds / whole:.1%} |")
        lines.append("")
    lines += ["## Beside what the machine can do", "", roofline(measured), "", "## What to try", ""]
    lines += [f"- {sentence}" for sentence in advice(measured)]
    return "\n".join(lines) + "\n"


def roofline(measured: Measured) -> str:
    """Return how near the passes came to the rate of a large matrix product."""
    reached = measured.reached()
    if reached is None or measured.rate is None or measured.flops is None:
        return "How many operations this model's rows need is not known, so no share is given."
    return (
        f"A large matrix product ran at {measured.rate / 1e9:,.0f} GFLOP/s here. "
        f"{measured.tokens:,} tokens without padding need {measured.flops / 1e9:,.1f} GFLOP by the "
        f"count of weights and attention; forward, loss and backward did that at {reached:.0%} "
        "of this rate."
    )
