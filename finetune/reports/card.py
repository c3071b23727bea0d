"""The model card: `README.md` for the merged model, in the Hub's format, from the run folder alone.

It follows the sections of the Hub's template. What is not known is left out, and nothing that is
wrong with a run folder makes it fail: a card must not cost anyone a trained model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError
from finetune.reports import facts as facts_module
from finetune.reports import names, occurrences, provenance, sections, usage
from finetune.reports.data import summary
from finetune.reports.facts import Facts, dig, objects
from finetune.reports.masking import mask_argument, mask_credentials
from finetune.reports.numbers import count, duration, memory, number, share
from finetune.reports.verdict import Sentence, headline, verdict, warnings

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
_ABSOLUTE = re.compile(
    r"""(?<![\w.:/<])(?:~|file:/*|[A-Za-z]:\\|/)[^\s'"`|<>]*[/\\]([^\s'"`|<>/\\]+)"""
)
_LANGUAGE = re.compile(r"^[a-z]{2,3}(-[A-Za-z]+)?$|^multilingual$")
# Our metric names to the ids that the Hub lists.
_HUB_METRICS = {"macro_f1": "f1", "micro_f1": "f1", "macro_precision": "precision",
                "macro_recall": "recall", "rouge1": "rouge", "rouge2": "rouge", "rougeL": "rouge",
                "rougeLsum": "rouge", "zero_shot_accuracy": "accuracy"}  # fmt: skip
_MALFORMED = (
    ArithmeticError, AttributeError, ImportError, LookupError, OSError, TypeError, ValueError,
)  # fmt: skip


def model_card(run_folder: Path) -> str:
    """Return the text of `README.md` for the merged model of a run."""
    facts = _facts(Path(run_folder))
    parts = [_try(lambda: _front_matter(facts)) or "---\ntags:\n- finetune\n---", *_body(facts)]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def eval_results(run_folder: Path) -> str | None:
    """Return the Hub's `.eval_results` YAML, or None unless the test set is a Hub data set."""
    return _try(lambda: _eval_results(_facts(Path(run_folder))))


def _facts(folder: Path) -> Facts:
    try:
        return facts_module.read(folder)
    except FinetuneError:
        return Facts(folder, {}, {})


def _try(make: Callable[[], str | None]) -> str | None:
    try:
        return make()
    except _MALFORMED:
        return None


def _front_matter(facts: Facts) -> str:
    from huggingface_hub import ModelCardData

    licence = str(dig(facts.manifest, "base_model", "license") or "").strip()
    known = bool(re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence))
    strategy = str(dig(facts.manifest, "strategy", "name") or "")
    base = _hub_base(facts)
    language = dig(facts.config, "data", "language") or dig(facts.config, "model", "language")
    results = _results(facts)
    data = ModelCardData(
        base_model=base,
        base_model_relation=_relation(facts) if base else None,
        datasets=[dataset] if (dataset := _hub_dataset(facts)) else None,
        eval_results=results or None,
        language=language if isinstance(language, str) and _LANGUAGE.match(language) else None,
        library_name=_library(facts),
        license=(licence if known else "other") if licence else None,
        license_name=_line(licence) if licence and not known else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=_line(facts.name) if results else None,
        pipeline_tag=dig(facts.config, "task", "pipeline_tag") or facts.task or None,
        tags=["finetune", *([_line(strategy)] if strategy else [])],
    )
    return f"---\n{data.to_yaml()}\n---"


def _results(facts: Facts) -> list[Any]:
    from huggingface_hub import EvalResult

    primary = str(facts.metrics.get("primary_metric"))
    scores = objects(facts.metrics.get("test"))
    found = []
    for name in sorted(scores, key=lambda name: name != primary):
        value = number(dig(scores, name, "value"))
        if value is None or not facts.task:
            continue
        found.append(
            EvalResult(
                task_type=facts.task,
                task_name=names.task(facts.task),
                dataset_type=_hub_dataset(facts) or _dataset(facts),
                dataset_name=_dataset(facts),
                dataset_split="test",
                metric_type=_HUB_METRICS.get(name, name),
                metric_name=names.metric(name),
                metric_value=value,
            )
        )
    return found


def _eval_results(facts: Facts) -> str | None:
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    primary = str(facts.metrics.get("primary_metric"))
    value = number(dig(facts.metrics, "test", primary, "value"))
    dataset = _hub_dataset(facts)
    if value is None or dataset is None or not facts.task:
        return None
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=facts.task,
        value=value,
        dataset_revision=dig(facts.config, "data", "revision"),
        date=str(facts.manifest.get("created_at") or "")[:10] or None,
        notes=f"{names.metric(primary)} on {count(dig(facts.metrics, 'rows', 'test'))} rows",
    )
    text: str = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
    return text


def _body(facts: Facts) -> list[str]:
    makers: list[tuple[str, Callable[[Facts], str]]] = [
        ("", _summary),
        ("## Model Details", _details),
        ("## Uses", _uses),
        ("## Bias, Risks, and Limitations", _limitations),
        ("## Training Details", _training),
        ("## Evaluation", _evaluation),
        ("## Environmental Impact", _impact),
        ("## Technical Specifications", _specifications),
        ("## Citation", _citation),
    ]
    parts = [f"# {_line(facts.name)}"]
    for heading, make in makers:
        text = _try(lambda make=make: make(facts))  # type: ignore[misc]
        if text:
            parts.append(f"{heading}\n\n{text}" if heading else text)
    return parts


def _summary(facts: Facts) -> str:
    base = _line(_base_name(facts))
    task = names.task(facts.task).lower() if facts.task else "the task of its training data"
    first = f"This model is {base}, fine-tuned for {task}." if base else f"A model for {task}."
    said = [headline(facts.metrics)] if facts.metrics else []
    return " ".join([first, *(_line(each.text) for each in said)])


def _details(facts: Facts) -> str:
    licence = dig(facts.manifest, "base_model", "license")
    revision = dig(facts.manifest, "base_model", "revision")
    base = _base_name(facts)
    rows = [
        ("Model type", names.task(facts.task) if facts.task else None),
        ("License", licence),
        ("Finetuned from model", f"{base}, revision {revision}" if base and revision else base),
        ("Strategy", dig(facts.manifest, "strategy", "name")),
        ("Trainable parameters", dict(provenance.model(facts)).get("Trainable parameters")),
    ]
    return _bullets(rows)


def _uses(facts: Facts) -> str:
    if not facts.task:
        return ""
    code = usage.snippet(facts.task, facts.folder)
    return f"Load it without any code of this project:\n\n```python\n{code}\n```"


def _limitations(facts: Facts) -> str:
    found = warnings(facts.metrics, facts.audit, facts.manifest)
    rows = count(dig(facts.metrics, "rows", "test"))
    general = (
        "The model was fitted to one data set; on texts, pictures or sounds of another kind it may "
        "do worse than the figures below say, and it can repeat the biases of its base model and "
        "its data."
    )
    lines = [general] if rows == "–" else [f"{general} The figures come from {rows} test rows."]
    listed = "\n".join(f"- {_line(each.text)}" for each in found)
    return "\n\n".join([*lines, *([listed] if listed else [])])


def _training(facts: Facts) -> str:
    rows = objects(dig(facts.manifest, "data", "rows")) or objects(facts.audit.get("splits"))
    splits = ", ".join(f"{_line(name)} {count(n)}" for name, n in rows.items())
    known = f": {splits} rows." if splits else "."
    listed = "\n".join(f"- {_line(each.text)}" for each in summary.sentences(facts.audit))
    told = f"\n\n{listed}" if facts.audit else ""
    parts = [f"### Training Data\n\n{_line(_dataset(facts))}{known}{told}"]
    settings = [
        (f"{group}.{key}", value)
        for group in ("strategy", "train")
        for key, value in objects(facts.config.get(group)).items()
        if isinstance(value, (str, int, float)) and value != ""
    ]
    if settings:
        listed = "\n".join(f"- `{_code(key)}`: {_line(value)}" for key, value in settings)
        parts.append(f"### Training Hyperparameters\n\n{listed}")
    facts_of = dict(provenance.model(facts))
    shown = ("Training", "Best checkpoint", "Global batch", "Precision", "Seed")
    done = [(key, facts_of.get(key)) for key in shown]
    seconds = dig(facts.manifest, "stages", "train", "seconds")
    done.append(("Time", duration(seconds) if number(seconds) is not None else None))
    done.append(("Course", occurrences.sentence(facts)))
    if text := _bullets(done):
        parts.append(f"### Speeds, Sizes, Times\n\n{text}")
    command = facts.manifest.get("command")
    if isinstance(command, list) and command:
        joined = " ".join(_code(_relative(mask_argument(str(part)))) for part in command)
        parts.append(f"### Reproduction\n\n```bash\n{joined}\n```")
    return "\n\n".join(parts)


def _evaluation(facts: Facts) -> str:
    table = sections.scores(facts) if facts.metrics else None
    if table is None:
        return ""
    said: list[Sentence] = verdict(facts.metrics)
    rows = [
        "| Metric | " + " | ".join(_line(name) for name in table["systems"]) + " |",
        "|---|" + "---:|" * len(table["systems"]),
        *(f"| {_line(row['head'])} | {' | '.join(row['cells'])} |" for row in table["rows"]),
    ]
    note = f"In brackets the {table['confidence']} interval; every system answered the same rows."
    note += " ↓ lower is better." if table["any_lower"] else ""
    listed = "\n".join(f"- {_line(each.text)}" for each in said)
    return f"### Results\n\n{listed}\n\n" + "\n".join(rows) + f"\n\n{note}"


def _impact(facts: Facts) -> str:
    seconds = number(dig(facts.manifest, "stages", "train", "seconds"))
    processor = dig(facts.manifest, "environment", "processor")
    device = dig(facts.manifest, "environment", "device")
    rows = [
        ("Hardware", device if device and device != "cpu" else processor or device),
        ("Time used for training", None if seconds is None else f"{seconds / 3600:.3g} hours"),
    ]
    return _bullets(rows)


def _specifications(facts: Facts) -> str:
    packages = objects(dig(facts.manifest, "environment", "packages"))
    peak = dig(facts.manifest, "stages", "train", "peak_memory_bytes")
    agreed = number(dig(facts.manifest, "stages", "export", "parity", "same_prediction"))
    same = None if agreed is None else f"same prediction on {share(agreed, 1)} of the rows compared"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    rows = [
        ("Parameters", dict(provenance.model(facts)).get("Parameters")),
        ("Peak memory in training", memory(peak) if number(peak) is not None else None),
        ("Merged model against trained model", same),
        ("Python", dig(facts.manifest, "environment", "python")),
        ("finetune", facts.manifest.get("finetune_version")),
        ("Packages", versions),
    ]  # fmt: skip
    return _bullets(rows)


def _citation(facts: Facts) -> str:
    year = str(facts.manifest.get("created_at") or "")[:4]
    if not year.isdigit():
        return ""
    key = re.sub(r"[^A-Za-z0-9]+", "_", facts.name).strip("_") or "model"
    title = re.sub(r"[{}\\]", "", _line(facts.name))
    return f"```bibtex\n@misc{{{key}_{year},\n  title = {{{title}}},\n  year = {{{year}}}\n}}\n```"


def _hub_base(facts: Facts) -> str | None:
    """Return the base model's Hub id; a local folder or a package path is none.

    `models/mine` looks like an id and may be a folder: a revision, or a mirror to take the same
    files from, tells them apart.
    """
    name = str(dig(facts.manifest, "base_model", "name_or_path") or "")
    revision = dig(facts.manifest, "base_model", "revision")
    known = revision or dig(facts.config, "model", "mirror")
    return name if known and _HUB_ID.match(name) and not Path(name).exists() else None


def _base_name(facts: Facts) -> str:
    name = str(dig(facts.manifest, "base_model", "name_or_path") or "")
    return _hub_base(facts) or re.split(r"[/\\:]", name.rstrip("/\\"))[-1]


def _relation(facts: Facts) -> str | None:
    strategy = dig(facts.manifest, "strategy", "name")
    if strategy is None:
        return None
    return "merge" if dig(facts.manifest, "strategy", "peft_type") else "finetune"


def _library(facts: Facts) -> str:
    folder = facts.folder / "merged" / "modules.json"
    return "sentence-transformers" if folder.is_file() else "transformers"


def _hub_dataset(facts: Facts) -> str | None:
    path = str(dig(facts.config, "data", "path") or "")
    hub = dig(facts.config, "data", "format") == "hub"
    return path if hub and _HUB_ID.match(path) else None


def _dataset(facts: Facts) -> str:
    data = objects(facts.config.get("data"))
    path = str(data.get("path") or data.get("train") or "")
    last = re.split(r"[/\\:]", path.rstrip("/\\"))[-1]
    return _line(last.split(".")[0]) or "own data"


def _bullets(rows: list[tuple[str, Any]]) -> str:
    kept = [(name, value) for name, value in rows if value not in (None, "")]
    return "\n".join(f"- **{name}:** {_line(value)}" for name, value in kept)


def _line(value: object) -> str:
    """Return a value on one line in which Markdown, HTML, credentials and paths have no effect."""
    text = _ABSOLUTE.sub(r"\1", mask_credentials(" ".join(str(value).split())))
    return re.sub(r"[\\`|*<>]|(?<=\])\(", lambda found: f"&#{ord(found[0])};", text)


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _relative(argument: str) -> str:
    """Keep the last part of an absolute path in a command line argument."""
    key, equals, value = argument.rpartition("=")
    if re.match(r"^(/|~|file:|[A-Za-z]:[\\/])", value):
        value = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return _ABSOLUTE.sub(r"\1", f"{key}{equals}{value}")
