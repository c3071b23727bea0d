"""Occurrences: what happened while training, in a few plain sentences and short tables.

The manifest's attempts say how often the run was stopped and what it went on from, and
`logs/events.jsonl` which steps were out of the ordinary. A quiet run is one sentence.
"""

from __future__ import annotations

import json
from typing import Any

from finetune.reports import names
from finetune.reports.facts import Facts, dig, identities, objects, records
from finetune.reports.numbers import count, counted, number, plain
from finetune.runs import attempts as conditions

MOST_EVENTS, MOST_ROWS = 20, 8
NO_WORD = "It left no word: it was killed, or the machine stopped."
RUNNING = "It is not over, or it was killed and left no word."


def section(facts: Facts) -> dict[str, Any] | None:
    """Return the sentences and tables, or None where no attempt is known and nothing happened."""
    tries, happened, changed = attempts(facts), events(facts), changes(facts)
    if not (tries or happened or changed):
        return None
    stopped = len(tries) > 1 or bool(tries and tries[-1]["tone"])
    return {
        "said": sentence(facts),
        "attempts": tries if stopped else [],
        "conditions": unlike(facts),
        "events": happened[:MOST_EVENTS],
        "more": max(0, len(happened) - MOST_EVENTS),
        "changes": changed,
    }


def sentence(facts: Facts) -> str:
    """Say in a few short sentences how training went; in one where nothing happened."""
    tries, happened, changed = attempts(facts), events(facts), changes(facts)
    kinds = {each["kind"] for each in happened}
    resumed = [each["start"].removeprefix("step ") for each in tries if each["resumed"]]
    parts = []
    if len(tries) > 1:
        steps = f"step{'s' * (len(resumed) > 1)} {_listed(resumed)}" if resumed else ""
        places = f"; training went on from {steps}" if resumed else ""
        parts.append(f"The run took {count(len(tries))} attempts{places}.")
    left_out = sum(each["steps"] for each in happened if each["kind"] in _LEFT_OUT)
    if left_out:
        parts.append(f"{counted(left_out, 'step')} left the model as it was.")
    if "out_of_memory" in kinds:
        parts.append("Memory ran out, and smaller micro-batches were taken.")
    if "loss_spike" in kinds:
        parts.append("The loss stood out at times.")
    if changed:
        parts.append(f"{counted(len(changed), 'change')} of settings or data had permission.")
    if kinds or changed or dig(facts.manifest, "stages", "train") is None:
        return " ".join(parts)
    watched = dig(facts.config, "train", "loss_spike_factor") is not None
    quiet = "no step was left out, " + (
        "memory sufficed, and no loss stood out." if watched else "and memory sufficed."
    )
    if len(tries) > 1:
        return " ".join([*parts, quiet[:1].upper() + quiet[1:]])
    return f"Training ran through in one attempt: {quiet}"


def attempts(facts: Facts) -> list[dict[str, Any]]:
    """Return of each attempt when it began, from where, and how it ended."""
    known = records(facts.manifest.get("attempts"))
    trained_at = str(dig(facts.manifest, "stages", "train", "finished_at") or "")
    over = dig(facts.manifest, "stages", "evaluate", "finished_at") is not None
    found = []
    for place, each in enumerate(known, start=1):
        last, ended = place == len(known), objects(each.get("ended"))
        began = str(each.get("started_at") or "")
        step = _step(each.get("resumed_from"))
        if step is not None:
            start = f"step {count(step)}"
        elif place > 1 and trained_at and trained_at <= began:
            start = "the trained model"
        else:
            start = "the beginning"
        how, tone = _end(ended, last=last, over=over)
        found.append(
            {
                "number": count(place),
                "began": began[:16].replace("T", " "),
                "start": start,
                "resumed": step is not None,
                "how": how,
                "tone": tone,
            }
        )
    return found


def _end(ended: dict[str, Any], *, last: bool, over: bool) -> tuple[str, str]:
    """Return how an attempt ended, and whether that was asked for."""
    if ended.get("why") == "done" or (last and over and not ended):
        return ("It finished." if last and over else "It did what was asked."), ""
    if not ended:
        return (RUNNING if last else NO_WORD), "bad"
    code = number(ended.get("code"))
    why = names.shorten(ended.get("why") or f"It ended with exit code {count(code)}.", 240)
    return why, "neutral" if code in _ASKED else "bad"


def unlike(facts: Facts) -> list[str]:
    """Return where an attempt ran under other conditions than the one before, which changes bits.

    Before anything was trained there was nothing to be unlike to, so only resumed ones count.
    """
    known = records(facts.manifest.get("attempts"))
    found = []
    for place in range(1, len(known)):
        differences = conditions.unlike(known[place - 1], known[place])
        if differences and _step(known[place].get("resumed_from")) is not None:
            listed = ", ".join(names.shorten(each) for each in differences)
            found.append(
                f"Attempt {count(place + 1)} went on under other conditions ({listed}), so the "
                "result may differ in its last digits from that of a run without interruption."
            )
    return found


_ASKED = (0, 130, 143)  # the time was up, Ctrl-C, SIGTERM
_LEFT_OUT = ("not_finite", "skipped")
_TITLES = {
    "not_finite": "The loss or a gradient was no finite number; the batch was left out.",
    "skipped": "Nothing in the batch could be learnt from; it was left out.",
    "out_of_memory": "Memory ran out",
    "loss_spike": "The loss stood out",
}


def events(facts: Facts) -> list[dict[str, Any]]:
    """Return what happened at which step, with the ids of rows, in the order of steps."""
    train = objects(dig(facts.manifest, "stages", "train"))
    lines = [each for each in facts.events if number(each.get("step")) is not None]
    told = {(str(each.get("event")), number(each.get("step"))) for each in lines}
    for kind, key in (("skipped", "skipped_steps"), ("not_finite", "nonfinite_steps")):
        listed = train.get(key)
        steps = [step for step in listed if number(step)] if isinstance(listed, list) else []
        unsaid = [step for step in steps if (kind, number(step)) not in told]
        if unsaid:  # a kind that the log does not know by rows: one line for all of its steps
            lines.append({"step": unsaid[0], "event": kind, "all": unsaid})
    micro = _configured(facts)
    found = []
    for each in sorted(lines, key=lambda line: number(line.get("step")) or 0.0):
        kind, steps = str(each.get("event") or ""), _steps(each)
        text = _TITLES.get(kind) or names.words(kind)
        if kind == "out_of_memory":
            after = number(each.get("micro_batch_size"))
            before = number(each.get("before")) or micro
            text += _halved(before, after)
            micro = after
        elif kind == "loss_spike":
            text += _spike(number(each.get("loss")), number(each.get("usual")))
        rows = identities(each.get("rows"))
        found.append(
            {
                "kind": kind,
                "step": _listed([count(step) for step in steps[:MOST_ROWS]])
                + (" …" if len(steps) > MOST_ROWS else ""),
                "steps": len(steps),
                "text": text,
                "rows": [names.shorten(row, 40) for row in rows[:MOST_ROWS]],
            }
        )
    return found


def _steps(event: dict[str, Any]) -> list[Any]:
    """Return the steps that an event stands for: its own, or several of one kind."""
    return list(event["all"]) if "all" in event else [event.get("step")]


def changes(facts: Facts) -> list[tuple[str, str, str]]:
    """Return each change that `run.allow_changes` let pass, with what was and what is."""
    return [
        (names.shorten(each.get("key", "")), _value(each.get("old")), _value(each.get("new")))
        for each in records(facts.manifest.get("allowed_changes"))
    ]


def _halved(before: float | None, after: float | None) -> str:
    if after is None:
        return "; micro-batches were halved, which changes no result."
    start = f"from {count(before)} " if before is not None and before > after else ""
    return f"; micro-batches were cut {start}to {counted(after, 'row')}, which changes no result."


def _spike(loss: float | None, usual: float | None) -> str:
    if loss is None or usual is None:
        return "."
    return f": it was {plain(loss)}, where {plain(usual)} was usual."


def _configured(facts: Facts) -> float | None:
    """Return the micro-batch that was asked for; None where it was left to the program."""
    micro = number(dig(facts.config, "train", "micro_batch_size"))
    batch = number(dig(facts.config, "train", "global_batch_size"))
    world = number(dig(facts.manifest, "stages", "train", "world_size")) or 1
    return None if micro is None else min(micro, -(-(batch or micro) // world))


def _step(name: Any) -> int | None:
    """Return the step of a checkpoint's name."""
    digits = str(name or "").removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 16 else None


def _listed(parts: list[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return names.shorten(value if isinstance(value, str) else json.dumps(value), 40)
