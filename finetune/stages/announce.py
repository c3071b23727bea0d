"""What a job says on stderr while it runs: which stage begins, and what the data stage found."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from finetune.runs.folder import RunFolder


def say(stage: str, what: str) -> None:
    """Say on stderr which stage begins."""
    sys.stderr.write(f"{stage:<9} {what}\n")
    sys.stderr.flush()


def say_data(run: RunFolder) -> None:
    """Say in one line what the data stage found, and each of its notable messages."""
    from finetune.runs import storage

    audit = storage.read_json(run.data / "audit.json")
    rows = ", ".join(f"{name} {count}" for name, count in audit["splits"].items())
    sys.stderr.write(
        f"   {audit['rows']['read']} rows read, {audit['rows']['dropped']} dropped: {rows}\n"
    )
    for message in audit.get("messages", []):
        sys.stderr.write(f"   {message}\n")
    tokens = audit.get("tokens") or {}
    if tokens.get("truncated_rows"):
        sys.stderr.write(
            f"   {tokens['truncated_rows']} rows are cut at {tokens['limit']} tokens; "
            f"{tokens['tokens_lost']} tokens are lost\n"
        )


def say_kept(facts: Mapping[str, Any], primary: str) -> None:
    """Say which step is kept, where that is not the last one."""
    if facts["kept"] != f"step-{facts['steps']}":
        step = str(facts["kept"]).removeprefix("step-")
        sys.stderr.write(
            f"   step {step} of {facts['steps']} is kept: the best by {primary} on the validation "
            "rows, by loss where that is equal\n"
        )
