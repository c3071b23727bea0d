"""Same global batch, same loss and gradient: whatever the micro-batch and the number of ranks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.cases import RECIPES, TAGS, compose, prepared

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5

Steps = dict[str, dict[str, list[float]]]
"""{rows in a micro-batch: {tag: [loss, gradient norm]}}."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every task's data prepared."""
    root = tmp_path_factory.mktemp("invariance")
    for tag in TAGS:
        prepared(compose(tag, root / tag, "name=case"))
    return root


def steps(folder: Path, out: Path, *micro: int, ranks: int = 1) -> Steps:
    """Run the program on this many ranks."""
    program = [str(Path(__file__).with_name("first_step.py")), str(folder), str(out)]
    launcher: list[str] = []
    if ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}"]
        launcher += [f"--master_port={port}"]
    for case in folder.glob("*/case"):
        shutil.rmtree(case / "checkpoints", ignore_errors=True)
        (case / "logs" / "metrics.jsonl").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, *launcher, *program, *map(str, micro)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: Steps = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """8 rows in one micro-batch and in smaller ones, in one process: the import is what costs."""
    return steps(folder, tmp_path_factory.mktemp("alone") / "found.json", 8, 4, 3, 2)


def test_every_task_has_a_case() -> None:
    assert set(TAGS) == set(RECIPES)


def compare(found: dict[str, list[float]], whole: dict[str, list[float]]) -> None:
    assert found.keys() == set(TAGS)
    for tag, values in found.items():
        assert whole[tag][0] > 0
        assert whole[tag][1] > 0
        assert values == pytest.approx(whole[tag], rel=TOLERANCE), tag


@pytest.mark.parametrize("micro", [4, 3, 2])
def test_loss_and_gradient_do_not_depend_on_how_the_batch_is_cut(micro: int, alone: Steps) -> None:
    compare(alone[str(micro)], alone["8"])


def test_loss_and_gradient_do_not_depend_on_the_number_of_ranks(
    folder: Path, alone: Steps, tmp_path: Path
) -> None:
    found = steps(folder, tmp_path / "found.json", 4, ranks=2)
    compare(found["4"], alone["8"])
