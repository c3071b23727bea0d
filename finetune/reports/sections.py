"""Sections: what each part of the report says, as plain values for the template."""

from __future__ import annotations

import shlex
from typing import Any

from finetune.reports import names, plots
from finetune.reports.facts import Facts, dig, objects
from finetune.reports.masking import mask_argument
from finetune.reports.numbers import (
    Estimate,
    count,
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
        rows = count(dig(facts.metrics, "rows", "test"))
        low = "" if facts.metrics.get("greater_is_better") is not False else ", lower is better"
        found.append(
            {
                "label": f"Test {names.metric(primary)}{low}",
                "value": plain(value.value, places),
                "note": f"{_range(value, places)} on {rows} rows",
                "tone": "accent",
            }
        )
        said = {
            "better": "clearly better",
            "same": "not distinguishable",
            "worse": "worse",
            "untested": "not tested",
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
        {"head": heads[key], "cells": [column[name] for name in systems]}
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
        known = {key: Estimate.read(dig(values, key)) for key in ("precision", "recall", "f1")}
        rows.append((label, known, number(dig(values, "support"))))
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


def data(facts: Facts) -> dict[str, Any] | None:
    """Rows in and out, splits, class balance, duplicates, leakage and lengths."""
    audit = facts.audit
    if not audit:
        return None
    splits = objects(audit.get("splits"))
    total = sum(number(n) or 0 for n in splits.values())
    steps = [each for each in audit.get("steps") or [] if isinstance(each, dict)]
    tokens = objects(audit.get("tokens"))
    checks = [
        ("Exact duplicates", dig(audit, "duplicates", "exact")),
        ("Near duplicates", dig(audit, "duplicates", "near")),
        ("Rows in two splits, identical", dig(audit, "leakage", "exact")),
        ("Rows in two splits, nearly identical", dig(audit, "leakage", "near")),
        ("Texts with several labels", audit.get("label_conflicts")),
        ("Repaired encodings", audit.get("encoding_repairs")),
    ]
    lengths = [
        ("Half of the rows have at most", tokens.get("p50")),
        ("95 % of the rows have at most", tokens.get("p95")),
        ("The longest row has", tokens.get("max")),
        ("The limit was", tokens.get("limit")),
        ("Rows cut at the limit", tokens.get("truncated_rows")),
        ("Tokens lost by that", tokens.get("tokens_lost")),
        ("Rows with nothing to learn", tokens.get("untrainable_rows")),
    ]
    return {
        "rows": [(key, count(n)) for key, n in objects(audit.get("rows")).items()],
        "steps": [
            (
                str(each.get("name")).replace("_", " "),
                count(each.get("rows_in")),
                count(each.get("rows_out")),
                count((number(each.get("rows_in")) or 0) - (number(each.get("rows_out")) or 0)),
            )
            for each in steps
        ],
        "splits": [(key, count(n), share(number(n) or 0, total)) for key, n in splits.items()],
        "columns": [(str(key), str(value)) for key, value in objects(audit.get("columns")).items()],
        "classes": _balance(audit),
        "split_names": list(objects(audit.get("class_splits"))),
        # A check that was not made (null) is not a check that found nothing.
        "checks": [(name, count(n)) for name, n in checks if number(n) is not None],
        "unmade": [name for name, n in checks if number(n) is None],
        "pairs": [
            " and ".join(str(part) for part in pair)
            for pair in dig(audit, "leakage", "pairs") or []
            if isinstance(pair, list)
        ],
        "lengths": [(name, count(n)) for name, n in lengths if number(n) is not None],
        "messages": [str(message) for message in audit.get("messages") or []],
    }


def model(facts: Facts) -> list[tuple[str, str]]:
    """The base model and the strategy, fact by fact."""
    base, strategy = (objects(facts.manifest.get(key)) for key in ("base_model", "strategy"))
    train = objects(dig(facts.manifest, "stages", "train"))
    trainable, total = (number(strategy.get(f"{k}_parameters")) for k in ("trainable", "total"))
    share_of = (
        f"{count(trainable)} of {count(total)} ({share(trainable, total)})"
        if trainable is not None and total
        else None
    )
    hashes = _hashes(objects(base.get("sha256")))
    batch = number(train.get("global_batch_size"))
    micro, steps = (
        number(train.get(k)) for k in ("micro_batch_size", "gradient_accumulation_steps")
    )
    made = f" ({count(micro)} rows at a time, {count(steps)} times)" if micro and steps else ""
    done = [f"{count(train.get('steps'))} steps"] if number(train.get("steps")) else []
    epochs, best = number(train.get("epochs")), number(train.get("best_step"))
    done += [f"{epochs:.3g} epochs"] if epochs is not None else []
    done += ["stopped early"] if train.get("stopped_early") is True else []
    rows = [
        ("Task", names.task(facts.task) if facts.task else None),
        ("Base model", base.get("name_or_path")),
        ("Revision", base.get("revision")),
        ("Licence", base.get("license")),
        ("Parameters", count(base["parameters"]) if number(base.get("parameters")) else None),
        ("SHA-256", ", ".join(hashes)),
        ("Strategy", strategy.get("name")),
        ("Adapter", strategy.get("peft_type")),
        ("Quantization", strategy.get("quantization")),
        ("Trainable parameters", share_of),
        ("Training", ", ".join(done)),
        ("Best checkpoint", f"step {count(best)}" if best is not None else None),
        ("Global batch", f"{count(batch)} rows{made}" if batch else None),
        ("Precision", train.get("precision")),
        ("Seed", facts.manifest.get("seed")),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def parity(facts: Facts) -> list[tuple[str, str]]:
    """The comparison of the merged model with the trained one."""
    found = objects(dig(facts.manifest, "stages", "export", "parity"))
    same, compared = number(found.get("same_prediction")), number(found.get("rows"))
    rows = [
        ("Rows compared", count(compared) if compared is not None else None),
        ("Largest difference", _small(found.get("max_abs_difference"))),
        ("Tolerance", _small(found.get("tolerance"))),
        ("Same prediction", share(same, 1) if same is not None else None),
        ("Compared", found.get("compared")),
        ("Merged in", found.get("merge_base")),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def stages(facts: Facts) -> list[tuple[str, str, str]]:
    """Time and memory of each stage, in the order of a run."""
    found = objects(facts.manifest.get("stages"))
    order = ("prepare", "train", "export", "evaluate", "report")
    known = [*(name for name in order if name in found), *sorted(set(found) - set(order))]
    return [
        (name, duration(dig(found, name, "seconds")), memory(dig(found, name, "peak_memory_bytes")))
        for name in known
    ]


def environment(facts: Facts) -> list[tuple[str, str]]:
    """The machine and the versions."""
    found = objects(facts.manifest.get("environment"))
    git = objects(facts.manifest.get("git"))
    commit = str(git["commit"])[:12] if git.get("commit") else None
    changed = ", with local changes" if git.get("dirty") else ""
    size = found.get("memory_bytes")
    rows = [
        ("finetune", facts.manifest.get("finetune_version")),
        ("Git commit", f"{commit}{changed}" if commit else None),
        ("Python", found.get("python")),
        ("Platform", found.get("platform")),
        ("Processor", found.get("processor")),
        ("Cores", found.get("cores")),
        ("Memory", memory(size) if number(size) else None),
        ("Device", found.get("device")),
        ("Processes", found.get("world_size")),
        *((str(name), version) for name, version in sorted(objects(found.get("packages")).items())),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def commands(facts: Facts) -> list[str]:
    """The command that made the run, and the one that replays it from its folder."""
    recorded = facts.manifest.get("command")
    parts = [mask_argument(str(part)) for part in recorded] if isinstance(recorded, list) else []
    folder = facts.folder.resolve()
    replay = f"python -m finetune run={shlex.quote(f'{folder.parent.name}/{folder.name}')}"
    return [*([shlex.join(parts)] if parts else []), replay]


def _hashes(files: dict[str, Any]) -> list[str]:
    """Name the weights with a short hash; how many other files were hashed."""
    weights = {name: each for name, each in files.items() if name.endswith(".safetensors")} or files
    first = [f"{name} {str(each)[:12]}" for name, each in list(weights.items())[:4]]
    more = len(files) - len(first)
    return [*first, f"{more} more in manifest.json"] if more else first


def _balance(audit: dict[str, Any]) -> list[dict[str, Any]]:
    totals = {label: number(n) or 0 for label, n in objects(audit.get("classes")).items()}
    by_split = objects(audit.get("class_splits"))
    largest, whole = max(totals.values(), default=0), sum(totals.values())
    return [
        {
            "label": names.shorten(label),
            "count": count(n),
            "share": share(n, whole),
            "width": round(100 * n / largest, 1) if largest else 0,
            "splits": [count(dig(by_split, split, label) or 0) for split in by_split],
        }
        for label, n in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]


def _range(estimate: Estimate, places: int) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{plain(estimate.low, places)} to {plain(estimate.high, places)}"


def _small(raw: Any) -> str | None:
    value = number(raw)
    return None if value is None else f"{value:.3g}"
