"""Doctor: is this machine ready, said line by line."""

from __future__ import annotations

import shutil
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

GIB = 1 << 30


def checks() -> tuple[list[str], bool]:
    """Return a line per check, and whether all that is needed is there."""
    lines = []
    ready = True
    for requirement in requirements():
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            lines.append(f"✗ {requirement.name} is not installed (needs {requirement.specifier})")
            ready = False
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        ready = ready and fits
        lines.append(
            f"{'✓' if fits else '✗'} {requirement.name} {found}"
            + ("" if fits else f" (needs {requirement.specifier})")
        )
    if ready:
        lines += device_lines()
    free = shutil.disk_usage(Path.cwd()).free
    lines.append(f"{'✓' if free > GIB else '✗'} {free / GIB:.1f} GiB free here")
    return lines, ready and free > GIB


def requirements() -> list[Requirement]:
    """Return what the package says it needs, extras left out."""
    try:
        listed = metadata.requires("finetune") or []
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        listed = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"]
    found = [Requirement(text) for text in listed]
    return [item for item in found if item.marker is None or item.marker.evaluate({"extra": ""})]


def device_lines() -> list[str]:
    """Return what training would run on."""
    from finetune.stages import devices, environment

    device = devices.choose("auto", "auto")
    memory = environment.memory_bytes()
    size = f", {memory / GIB:.0f} GiB memory" if memory else ""
    return [f"✓ trains on {device.name} in {device.precision}: {environment.processor()}{size}"]
