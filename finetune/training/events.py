"""What happened while training that a reader of the run must know: one line of JSON each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from finetune.runs import storage

logger = logging.getLogger(__name__)


class Events(TrainerCallback):
    """Writes logs/events.jsonl on the main process.

    Args:
        file: The log; None on other ranks, which write nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop what happened beyond the step that training resumes from: it will happen again."""
        del args, control, kwargs
        if self.file is not None and self.file.is_file():
            lines = storage.read_jsonl(self.file)
            kept = [line for line in lines if line.get("step", 0) <= state.global_step]
            storage.write_jsonl(self.file, kept)

    def add(self, step: int, event: str, message: str, **facts: Any) -> None:
        """Write an event down and say it.

        Args:
            step: The optimiser step it belongs to, counted from 1.
            event: Its kind, for programs.
            message: A sentence, for people.
            facts: Numbers and row ids; never the text of a row.
        """
        if self.file is not None:
            logger.warning("%s", message)
            storage.append_line(self.file, {"step": step, "event": event, **facts})
