"""Prove that an exported folder computes what was trained: in a fresh process, on real rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import GateError
from finetune.models import fresh

if TYPE_CHECKING:
    from torch import Tensor, nn

NOT_INPUTS = ("labels", "group", "reference")
BUDGET = 30_000_000
"""Most numbers compared; further places of long outputs are left out."""
TOLERANCES = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}
"""Largest difference relative to max(1, largest output), by the type that is written."""


@dataclass(frozen=True)
class Parity:
    """How far two models are apart on the same rows."""

    rows: int
    """Rows compared."""
    max_abs_difference: float
    """Largest difference of an output."""
    scale: float
    """Largest output, at least 1."""
    same_prediction: float
    """Share of places where both have the same largest output."""

    def within(self, tolerance: float) -> bool:
        """Tell whether no output differs by more than the tolerance times the largest output."""
        return self.max_abs_difference <= tolerance * self.scale


def inputs_of(batches: Sequence[Mapping[str, Tensor]], vocabulary: int) -> dict[str, Tensor]:
    """Return the inputs of batches as named tensors, with the labelled places to look at.

    Args:
        batches: As the task collates them.
        vocabulary: Numbers per place, to keep within the budget.
    """
    tensors: dict[str, Tensor] = {}
    left = BUDGET
    for number, batch in enumerate(batches):
        labels = batch.get("labels")
        if labels is not None and labels.dim() == 2:
            pick = labels != -100
            places = pick.nonzero()
            allowed = max(1, left // max(vocabulary, 1))
            if len(places) > allowed:
                pick = pick.clone()
                for row, column in places[allowed:].tolist():
                    pick[row, column] = False
            left -= int(pick.sum()) * vocabulary
            tensors[f"{number}/pick"] = pick
        tensors |= {
            f"{number}/{key}": value.contiguous()
            for key, value in batch.items()
            if key not in NOT_INPUTS
        }
    return tensors


def outputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a model in this process."""
    return fresh.run(model, inputs)


def outputs_of_folder(
    folder: Path, auto_class: str, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Run an exported folder in a fresh process that knows nothing of this project.

    Raises:
        GateError: It does not load there.
    """
    from safetensors.torch import load_file, save_file

    kind = "sentence-transformers" if (folder / "modules.json").is_file() else auto_class
    with tempfile.TemporaryDirectory(prefix="finetune-parity-") as scratch:
        source, target = Path(scratch) / "inputs.safetensors", Path(scratch) / "outputs.safetensors"
        save_file({name: tensor.clone() for name, tensor in inputs.items()}, source)
        done = subprocess.run(
            [sys.executable, "-I", fresh.__file__, str(folder), kind, str(source), str(target)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise GateError(
                f"The exported model does not load in a fresh process with `{kind}`: {last}",
                fix="The checkpoint is kept; report this with the message above.",
            )
        return {key: value.clone() for key, value in load_file(target).items()}


def compare(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Parity:
    """Compare two sets of outputs."""
    if one.keys() != other.keys():
        raise GateError(
            f"The exported model gives other outputs: {sorted(one)} became {sorted(other)}."
        )
    for key in one:
        if one[key].shape != other[key].shape:
            raise GateError(
                f"The exported model gives outputs of another shape: {tuple(one[key].shape)} "
                f"became {tuple(other[key].shape)}."
            )
    difference, scale, same, places, rows = 0.0, 1.0, 0, 0, 0
    for key in one:
        a, b = one[key], other[key]
        if a.numel() == 0:
            continue
        gap = (a - b).abs().max().item()
        difference = max(difference, gap if gap == gap else float("inf"))
        scale = max(scale, a.abs().max().item())
        same += int((a.argmax(-1) == b.argmax(-1)).sum())
        places += a[..., 0].numel()
        rows += len(a)
    return Parity(rows, difference, scale, same / max(places, 1))


def facts(
    parity: Parity, *, rows: int, tolerance: float, compared: str, merge_base: str | None
) -> dict[str, Any]:
    """Return what the manifest says of a comparison."""
    return {
        "rows": rows,
        "max_abs_difference": parity.max_abs_difference,
        "scale": parity.scale,
        "tolerance": tolerance,
        "same_prediction": parity.same_prediction,
        "compared": compared,
        "merge_base": merge_base,
    }
