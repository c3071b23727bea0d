"""What a job says on stderr while it runs: which stage begins, and what the data stage found."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.problems import rows
from finetune.runs.folder import RunFolder


def say(stage: str, what: str) -> None:
    """Say on stderr which stage begins."""
    sys.stderr.write(f"{stage:<9} {what}\n")
    sys.stderr.flush()


def say_data(run: RunFolder) -> None:
    """Say in one line what the data stage found, and each of its notable messages."""
    from finetune.runs import storage

    audit = storage.read_json(run.data / "audit.json")
    splits = ", ".join(f"{name} {count}" for name, count in audit["splits"].items())
    read, dropped = audit["rows"]["read"], audit["rows"]["dropped"]
    sys.stderr.write(f"   {rows(read)} read, {dropped:,} dropped: {splits}\n")
    for message in audit.get("messages", []):
        sys.stderr.write(f"   {message}\n")
    tokens = audit.get("tokens") or {}
    if cut := tokens.get("truncated_rows"):
        sys.stderr.write(
            f"   {rows(cut)} {'is' if cut == 1 else 'are'} cut at {tokens['limit']} tokens; "
            f"tokens lost: {tokens['tokens_lost']}\n"
        )
    if answerless := tokens.get("answerless_rows"):
        counts = ", ".join(f"{name} {count}" for name, count in answerless.items() if count)
        sys.stderr.write(
            f"   rows without an answer within {tokens['limit']} tokens: {counts}; they stay and "
            "are judged all the same\n"
        )
    sound = tokens.get("audio_seconds") or {}
    if unheard := sound.get("unheard_rows"):
        sys.stderr.write(
            f"   {unheard} {'recording is' if unheard == 1 else 'recordings are'} longer than the "
            f"{sound['window']:g} s that the model hears at once: sound beyond is not heard, its "
            "words stay in the transcript (data.on_overlength=drop leaves such rows out)\n"
        )


def say_kept(facts: Mapping[str, Any], primary: str) -> None:
    """Say which step is kept, where that is not the last one."""
    if facts["kept"] != f"step-{facts['steps']}":
        step = str(facts["kept"]).removeprefix("step-")
        sys.stderr.write(
            f"   step {step} of {facts['steps']} is kept: the best by {primary} on the validation "
            "rows, by loss where that is equal\n"
        )


def say_end(command: Sequence[str]) -> None:
    """Say which of two ends of training holds, where the command names both."""
    given = dict(word.lstrip("+").partition("=")[::2] for word in command)
    steps, epochs = given.get("train.max_steps"), given.get("train.num_train_epochs")
    if epochs and steps not in (None, "", "null"):
        sys.stderr.write(
            f"   train.max_steps={steps} says when training ends, not "
            f"train.num_train_epochs={epochs}\n"
        )
