"""What is written and shown while training: the metrics log and a progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from finetune.runs import storage
from finetune.runs.folder import peak_memory_bytes
from finetune.training.seen import Seen

GROWS = 8
"""Characters by which what stands beside a bar gets longer in the course of a run."""
SHOWN = ("loss", "grad_norm", "learning_rate")


class MetricsLog(TrainerCallback):
    """Writes one line per logged step to logs/metrics.jsonl, on the main process.

    Args:
        file: The log.
        seen: Counts units since the last line; the trainer adds to it.
    """

    def __init__(self, file: Path, seen: Seen) -> None:
        self.file, self.seen = file, seen
        self.since = time.perf_counter()
        self.before = 0.0  # units of this line that an earlier attempt has trained

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop lines beyond the step that training resumes from."""
        del args, control, kwargs
        if state.is_world_process_zero and self.file.is_file():
            lines = [
                line
                for line in storage.read_jsonl(self.file)
                if line.get("step", 0) <= state.global_step
            ]
            storage.write_jsonl(self.file, lines)
        self.since, self.before = time.perf_counter(), self.seen.units

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close a line before an evaluation and at the end, but at no checkpoint.

        What a line averages over must not depend on when somebody asked for a checkpoint.
        """
        del args, kwargs
        control.should_log |= control.should_evaluate or state.global_step >= state.max_steps

    on_epoch_end = on_step_end

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Append a line."""
        del args, control, kwargs
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        line: dict[str, Any] = {
            "step": state.global_step,
            "epoch": round(float(logs.get("epoch", 0.0)), 6),
        }
        if "loss" in logs:
            seconds = max(time.perf_counter() - self.since, 1e-9)
            line |= {key: logs.get(key) for key in ("loss", "learning_rate", "grad_norm")}
            line |= {
                "units": int(self.seen.units),
                "units_per_second": round((self.seen.units - self.before) / seconds, 3),
                "memory": peak_memory_bytes(),
            }
            self.seen.units = self.before = 0.0
        line |= {key: value for key, value in logs.items() if key.startswith("eval_")}
        storage.append_line(self.file, line)
        self.since = time.perf_counter()


class Progress(TrainerCallback):
    """Shows a bar on a terminal, and one line per evaluation anywhere; silent on other ranks."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar."""
        del args, control, kwargs
        if state.is_world_process_zero:
            from tqdm import tqdm  # type: ignore[import-untyped]

            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="   step",
                disable=not sys.stderr.isatty(),
                dynamic_ncols=True,
                leave=False,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        del args, state, control, kwargs
        if self.bar is not None:
            self.bar.update(1)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Show the last loss beside the bar, and an evaluation as a line of its own."""
        del args, control, kwargs
        if self.bar is None or not logs:
            return
        if "loss" in logs:
            fields = {key: f"{logs[key]:.4g}" for key in SHOWN if logs.get(key) is not None}
            self.bar.set_postfix(fitting(fields, room_beside(self.bar)))
        scores = {
            key.removeprefix("eval_"): value
            for key, value in logs.items()
            if key.startswith("eval_")
        }
        if scores:
            shown = "  ".join(
                f"{key} {value:.4g}" for key, value in scores.items() if isinstance(value, float)
            )
            self.bar.clear()
            sys.stderr.write(
                f"   step {state.global_step} of {state.max_steps}  validation: {shown}\n"
            )
            sys.stderr.flush()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        del args, state, control, kwargs
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def room_beside(bar: Any) -> int | None:
    """Return the characters of a line that a bar of ten leaves for fields; None where any do."""
    known = bar.format_dict
    if bar.disable or not known["ncols"]:
        return None
    taken = len(bar.format_meter(**{**known, "ncols": None, "postfix": None})) + GROWS
    return int(known["ncols"]) - taken


def fitting(fields: Mapping[str, str], room: int | None) -> dict[str, str]:
    """Return the first fields that a line has room for: none of them is cut."""
    found: dict[str, str] = {}
    for key, value in fields.items():
        if room is not None and (room := room - len(f", {key}={value}")) < 0:
            break
        found[key] = value
    return found
