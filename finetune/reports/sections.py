"""Sections: what each part of the report says, as plain values for the template."""

from __future__ import annotations

from typing import Any

from finetune.reports import glossary, names, plots
from finetune.reports.facts import Facts, dig, objects
from finetune.reports.numbers import (
    Estimate,
    count,
    counted,
    duration,
    interval,
    memory,
    number,
    plain,
    share,
    shared_decimals,
)
from finetune.reports.verdict import compare

MOST_CLASSES_IN_A_HEATMAP = 30
_MOST_SLICES = 60


def tiles(facts: Facts) -> list[dict[str, str]]:
    """The three or four figures to see first."""
    primary = str(facts.metrics.get("primary_metric"))
    value = Estimate.read(dig(facts.metrics, "test", primary))
    found: list[dict[str, str]] = []
    if value is not None:
        comparisons = compare(facts.metrics)
        places = shared_decimals([value, *(each.reference for each in comparisons)])
        rows = counted(dig(facts.metrics, "rows", "test"), "row")
        low = "" if facts.metrics.get("greater_is_better") is not False else ", lower is better"
        found.append(
            {
                "label": f"Test {names.metric(primary)}{low}",
                "value": plain(value.value, places),
                "note": f"{_range(value, places)} on {rows}",
                "tone": "accent",
            }
        )
        said = {
            "better": "clearly better",
            "same": "not distinguishable",
            "worse": "worse",
            "untested": "not tested",
            "few": "too few rows to tell",
        }
        for each in comparisons:
            base = each.baseline == "base_model"
            found.append(
                {
                    "label": "Against the base model" if base else "Against the best baseline",
                    "value": plain(
                        each.difference.value,
                        shared_decimals([each.difference]),
                        signed=True,
                    ),
                    "note": f"{said[each.outcome]}; "
                    + (f"{names.baseline(each.baseline)} has " if not base else "it has ")
                    + plain(each.reference.value, places),
                    "tone": each.tone,
                }
            )
    seconds = number(dig(facts.manifest, "stages", "train", "seconds"))
    if seconds is not None:
        peak = dig(facts.manifest, "stages", "train", "peak_memory_bytes")
        note = f"{memory(peak)} of memory at most" if number(peak) else ""
        found.append(
            {"label": "Training", "value": duration(seconds), "note": note, "tone": "plain"}
        )
    return found


def scores(facts: Facts) -> dict[str, Any] | None:
    """The primary metric as dots with intervals, and every metric beside the baselines."""
    metrics = facts.metrics
    primary = str(metrics.get("primary_metric"))
    systems = {"Fine-tuned model": objects(metrics.get("test"))}
    baselines = objects(metrics.get("baselines"))
    for key in sorted(baselines, key=lambda key: (key != "base_model", key)):
        name = names.baseline(key)
        systems[name[:1].upper() + name[1:]] = objects(baselines[key])
    order = [primary, *(key for key in systems["Fine-tuned model"] if key != primary)]
    order += [key for each in systems.values() for key in each if key not in order]
    columns = {}
    for key in dict.fromkeys(order):
        estimates = {name: Estimate.read(each.get(key)) for name, each in systems.items()}
        places = shared_decimals(estimates.values())
        columns[key] = {
            name: interval(each, places) if each else "–" for name, each in estimates.items()
        }
        if key == primary:
            known = {name: each for name, each in estimates.items() if each is not None}
            dots = dots_table(known, places)
    if not any(text != "–" for column in columns.values() for text in column.values()):
        return None
    lower = {primary} if metrics.get("greater_is_better") is False else set()
    heads = {
        key: names.metric(key) + (" ↓" if key in lower or names.lower_is_better(key) else "")
        for key in columns
    }
    rows = [
        {
            "head": heads[key],
            "gloss": glossary.metric(key),
            "cells": [column[name] for name in systems],
        }
        for key, column in columns.items()
    ]
    return {
        "primary": names.metric(primary),
        "lower": metrics.get("greater_is_better") is False,
        "confidence": f"{(number(metrics.get('confidence')) or 0.95) * 100:.3g}\N{NO-BREAK SPACE}%",
        "dots": dots,
        "systems": list(systems),
        "rows": rows,
        "any_lower": any(head.endswith("↓") for head in heads.values()),
    }


def dots_table(estimates: dict[str, Estimate], places: int) -> dict[str, Any] | None:
    """Rows of a name, a dot with its interval on a common axis, and the figures."""
    if not estimates:
        return None
    axis, bars = plots.bars(list(estimates.values()))
    rows = [
        {"name": name, "bar": bar, "text": interval(each, places)}
        for (name, each), bar in zip(estimates.items(), bars, strict=True)
    ]
    return {"axis": axis, "rows": rows}


def curves(facts: Facts) -> list[plots.Curve]:
    """Training and evaluation loss in one plot, the primary metric in another."""
    primary = str(
        facts.metrics.get("primary_metric") or dig(facts.config, "task", "primary_metric")
    )
    best = number(dig(facts.manifest, "stages", "train", "best_step"))
    losses = {
        "training": plots.points(facts.log, "loss"),
        "validation": plots.points(facts.log, "eval_loss"),
    }
    score = plots.points(facts.log, f"eval_{primary}")
    label = names.metric(primary)
    found = [
        plots.curve("Loss", losses, mark=best),
        plots.curve(f"{label[:1].upper()}{label[1:]} on validation", {label: score}, mark=best)
        if primary != "loss"
        else None,
        plots.curve("Learning rate", {"learning rate": plots.points(facts.log, "learning_rate")}),
        plots.curve("Gradient norm", {"gradient norm": plots.points(facts.log, "grad_norm")}),
    ]
    return [each for each in found if each is not None]


def classes(facts: Facts) -> dict[str, Any] | None:
    """Per-class figures, the weakest first, and the confusions."""
    per_class = objects(facts.metrics.get("per_class"))
    rows = []
    for label, values in per_class.items():
        support = number(dig(values, "support"))
        # Earlier runs have zeros where a class has no row.
        read = Estimate.read if support != 0 else lambda _: None
        known = {key: read(dig(values, key)) for key in ("precision", "recall", "f1")}
        rows.append((label, known, support))
    places = 3
    rows.sort(key=lambda row: (row[1]["f1"].value if row[1]["f1"] else 2.0, row[0]))
    table = [
        {
            "label": names.shorten(label),
            "cells": [interval(each, places) if each else "–" for each in known.values()],
            "f1": round(100 * known["f1"].value, 1) if known["f1"] else 0,
            "support": count(support),
        }
        for label, known, support in rows
    ]
    labels = [str(label) for label in dig(facts.metrics, "confusion", "labels") or []]
    matrix = [[int(n) for n in row] for row in dig(facts.metrics, "confusion", "matrix") or []]
    if len(matrix) != len(labels) or any(len(row) != len(labels) for row in matrix):
        raise ValueError("the confusion matrix is not square")
    if not table and not labels:
        return None
    small = 0 < len(labels) <= MOST_CLASSES_IN_A_HEATMAP
    pairs = [
        {
            "reference": names.shorten(reference, 40),
            "prediction": names.shorten(prediction, 40),
            "count": count(times),
            "share": share(times, total),
        }
        for reference, prediction, times, total in plots.worst_pairs(labels, matrix)
    ]
    return {
        "table": table,
        "gloss": glossary.CLASSES,
        "unknown": any(support == 0 for _, _, support in rows),
        "labels": [names.shorten(label, 22) for label in labels],
        "cells": plots.heatmap(matrix) if small else None,
        "pairs": pairs[:8] if small else pairs,
        "has_matrix": bool(labels),
    }


def slices(facts: Facts) -> list[dict[str, Any]]:
    """The primary metric on parts of the test set, each with its interval."""
    primary = str(facts.metrics.get("primary_metric"))
    overall = Estimate.read(dig(facts.metrics, "test", primary))
    found = []
    for column, values in objects(facts.metrics.get("slices")).items():
        known: dict[str, Estimate] = {}
        rows = {}
        ordered = sorted(
            objects(values).items(),
            key=lambda item: (-(number(dig(item[1], "rows")) or 0), item[0]),
        )
        for value, each in ordered[:_MOST_SLICES]:
            estimate = Estimate.read(dig(each, primary))
            if estimate is not None:
                label = names.shorten(value, 40) or "(empty)"
                known[label], rows[label] = estimate, count(dig(each, "rows"))
        if not known:
            continue
        with_all = ({"All rows": overall} if overall else {}) | known
        table = dots_table(with_all, shared_decimals(with_all.values()))
        more = max(0, len(ordered) - _MOST_SLICES)
        total = count(dig(facts.metrics, "rows", "test"))
        found.append(
            {
                "column": names.shorten(column, 40),
                "table": table,
                "rows": {"All rows": total} | rows,
                "more": more,
            }
        )
    return found


def _range(estimate: Estimate, places: int) -> str:
    if not estimate.uncertain:
        return "no interval"
    low, high = (plain(bound, places) for bound in estimate.bounds)
    return f"{low} to {high}"
