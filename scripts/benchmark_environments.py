"""The environments of peers that can't share ours: made once, each with the torch that we have.

pip is asked first what it would fetch. Where that is another torch, or NVIDIA's packages beside a
torch that needs none, nothing is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

LIMIT = 1800
"""Seconds after which a contestant is given up."""


class DidNotRun(Exception):  # noqa: N818 - it is the sentence that the table says
    """Why a peer has no figures."""


def last_words(text: str) -> str:
    """Return the last line that says something, without places of this machine."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "rror" in line), (lines or ["no word"])[-1])
    return re.sub(r"(?<![\w.])/(?:[^\s/:'\"]+/)+", "", said).replace("|", "/")[:200]


def call(words: Sequence[str | Path], what: str, **options: Any) -> None:
    """Run a program.

    Raises:
        DidNotRun: It failed, took too long, or isn't there.
    """
    try:
        done = subprocess.run(
            [str(word) for word in words],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise DidNotRun(f"{what} took more than {LIMIT} s") from None
    except OSError as error:  # an environment that somebody moved or cut
        raise DidNotRun(f"{what}: {last_words(str(error))}") from None
    if done.returncode:
        raise DidNotRun(f"{what}: {last_words(done.stderr or done.stdout)}")


def unwanted(pins: Mapping[str, str], torch: str, here: Sequence[str]) -> str | None:
    """Return what speaks against installing, if anything does.

    Args:
        pins: The version of each package that pip would install.
        torch: The version of torch that all contestants are to have.
        here: Names of the packages of this environment.
    """
    if pins.get("torch") != torch:
        return f"pip would install torch {pins.get('torch')}, and ours runs on {torch}"
    nvidia = [name for name in pins if name.startswith("nvidia-")]
    if nvidia and not any(name.startswith("nvidia-") for name in here):
        return f"pip would fetch {len(nvidia)} packages of NVIDIA's, which torch {torch} needs not"
    return None


def install(
    folder: Path, package: str, without: Sequence[str] = (), stubs: Sequence[str] = ()
) -> dict[str, str]:
    """Make an environment, unless it is there, and return the versions of what is in it.

    Args:
        folder: Where it is or will be.
        package: What it is made for.
        without: Packages that it asks for and that don't load beside a torch for the CPU.
        stubs: Of those, what it imports all the same, and doesn't use for text.

    Raises:
        DidNotRun: pip can't, or would fetch what it shouldn't.
    """
    done = folder / "installed.json"
    if done.is_file():
        return dict(json.loads(done.read_text("utf-8")))
    sys.stderr.write(f"making an environment for {package}, which takes minutes\n")
    call([sys.executable, "-m", "venv", "--clear", folder], "venv")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    torch = metadata.version("torch")
    (folder / "constraints.txt").write_text(f"torch=={torch}\n", "utf-8")
    limits = ["-c", folder / "constraints.txt"]
    plan = folder / "plan.json"
    call([*pip, *limits, "--dry-run", "--report", plan, package], "pip")
    found = [one["metadata"] for one in json.loads(plan.read_text("utf-8"))["install"]]
    pins = {one["name"].lower(): one["version"] for one in found}
    here = [(one.metadata["Name"] or "").lower() for one in metadata.distributions()]
    against = unwanted(pins, torch, here)
    if against:
        raise DidNotRun(against)
    pins = {name: version for name, version in pins.items() if name not in without}
    wanted = "".join(f"{name}=={version}\n" for name, version in pins.items())
    (folder / "requirements.txt").write_text(wanted, "utf-8")
    call([*pip, *limits, "--no-deps", "-r", folder / "requirements.txt"], "pip")
    for name in stubs:
        (folder / "stubs" / name).mkdir(parents=True)
        (folder / "stubs" / name / "__init__.py").write_text('__version__ = "0"\n', "utf-8")
    done.write_text(json.dumps(pins, indent=1) + "\n", "utf-8")
    return pins
