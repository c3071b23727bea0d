"""The report: one HTML file without script or request, from the run folder alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from finetune.reports import facts as facts_module
from finetune.reports import glossary, names, occurrences, provenance, sections, usage
from finetune.reports.data import section as data_section
from finetune.reports.data import summary
from finetune.reports.examples import examples as read_examples
from finetune.reports.facts import Facts, objects
from finetune.reports.verdict import headline, verdict, warnings
from finetune.runs.storage import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_Shown = TypeVar("_Shown")
_MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


def build(run_folder: Path, *, examples: int = 0) -> Path:
    """Write `report.html` into a run folder and return its path.

    A run that stopped half-way gives a report of that half, which says what is missing.

    Args:
        run_folder: The run folder; `config.yaml` and `manifest.json` must be there.
        examples: How many test rows to show, mistakes first. With none, no row's text appears.

    Raises:
        ArtefactError: When the folder is no run folder.
        StorageError: When the report cannot be written.
    """
    path = Path(run_folder) / "report.html"
    write_text(path, render(facts_module.read(Path(run_folder)), examples=examples))
    return path


def render(facts: Facts, *, examples: int = 0) -> str:
    """Return the report as HTML; the same facts give the same bytes."""
    html = _environment().get_template("report.html").render(context(facts, examples=examples))
    # Lone surrogates and control characters cannot stand in an HTML file, whatever a label holds.
    clean = html.encode("utf-8", errors="replace").decode("utf-8")
    return "".join(char for char in clean if char in "\n\t" or _printable(char))


@cache
def _environment() -> Environment:
    """Compile the templates once for all reports of a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def context(facts: Facts, *, examples: int = 0) -> dict[str, Any]:
    """Return everything the template shows; a malformed part is left out and named as missing."""
    missing = list(facts.missing)

    def part(title: str, make: Callable[[], _Shown]) -> _Shown | None:
        # A file of a strange shape costs its own section, not the report.
        try:
            return make()
        except _MALFORMED as error:
            missing.append(f"{title} cannot be shown: {type(error).__name__} in its file.")
            return None

    metrics, audit, manifest = facts.metrics, facts.audit, facts.manifest
    exported = facts_module.dig(manifest, "stages", "export") is not None
    shown: dict[str, Any] = {
        "name": facts.name,
        "task": names.task(facts.problem) if facts.task not in ("", "data") else "",
        "data_only": facts.prepared_only,
        "subtitle": _dataset(facts.config) if facts.prepared_only else _subtitle(manifest),
        "error": _error(facts.error),
        "headline": part("The verdict", lambda: headline(metrics)),
        "verdict": part("The verdict", lambda: verdict(metrics)) if metrics else [],
        "warnings": part("The warnings", lambda: warnings(metrics, audit, manifest)),
        "tiles": part("The key figures", lambda: sections.tiles(facts)),
        "scores": part("Metrics", lambda: sections.scores(facts)) if metrics else None,
        "curves": part("Learning curves", lambda: sections.curves(facts)),
        "occurrences": None
        if facts.prepared_only
        else part("What happened while training", lambda: occurrences.section(facts)),
        "classes": part("Classes", lambda: sections.classes(facts)),
        "slices": part("Slices", lambda: sections.slices(facts)),
        "examples": part("Examples", lambda: read_examples(facts.folder, examples, facts.problem))
        if examples > 0
        else [],
        "score": glossary.score(facts.problem),
        "data": data_section.section(facts, part),
        "model": part("Model and strategy", lambda: provenance.model(facts)),
        "parity": part("Merge parity", lambda: provenance.parity(facts)),
        "stages": part("Timings", lambda: provenance.stages(facts)),
        "environment": part("Environment", lambda: provenance.environment(facts)),
        "commands": part("Commands", lambda: provenance.commands(facts)),
        "usage": usage.snippet(facts.task, facts.folder) if facts.task and exported else "",
        "config": _yaml(facts.config),
        "version": str(manifest.get("finetune_version") or ""),
        "created": str(manifest.get("created_at") or "")[:19].replace("T", " "),
    }
    if facts.prepared_only:
        shown |= {
            "headline": part("The headline", lambda: summary.headline(audit)),
            "verdict": part("The summary", lambda: summary.sentences(audit)),
            "tiles": part("The key figures", lambda: summary.tiles(audit)),
            "model": shown["model"] if objects(manifest.get("base_model")) else None,
        }
    return shown | {"missing": missing}


def _error(error: dict[str, Any]) -> dict[str, str]:
    if not error:
        return {}
    what = error.get("what")
    said = " ".join(str(problem) for problem in what) if isinstance(what, list) else what
    shown = error | {"what": said}
    return {key: str(shown.get(key) or "") for key in ("code", "what", "where", "fix")}


def _subtitle(manifest: dict[str, Any]) -> str:
    base = facts_module.dig(manifest, "base_model", "name_or_path")
    strategy = facts_module.dig(manifest, "strategy", "name")
    parts = [str(base).rsplit("/", 1)[-1] if base else "", str(strategy or "")]
    return " · ".join(part for part in parts if part)


def _dataset(config: dict[str, Any]) -> str:
    """Name the data by the last part of their place."""
    data = objects(config.get("data"))
    place = str(data.get("path") or data.get("train") or "")
    return names.shorten(place.rstrip("/").rsplit("/", 1)[-1])


def _yaml(config: dict[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=88)
    return text


def _printable(char: str) -> bool:
    """Say whether HTML allows the character: no controls, no Unicode noncharacters."""
    point = ord(char)
    control = point < 0x20 or 0x7F <= point < 0xA0
    return not (control or 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE)
