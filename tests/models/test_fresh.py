"""The program that loads an exported folder knows nothing of this project."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.models import fresh
from tests.models import bases
from tests.models.bases import Base

FILE = Path(fresh.__file__)


def test_it_imports_nothing_of_this_project() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module or ".")] if isinstance(node, ast.ImportFrom)
                      else node.names)
    }  # fmt: skip
    assert names
    assert not {name for name in names if name.startswith(("finetune", "."))}


def test_a_process_that_runs_it_never_imports_this_project(
    tiny: dict[str, Base], tmp_path: Path
) -> None:
    save_file({"0/input_ids": bases.numbers(2, 5)}, tmp_path / "in.safetensors")
    arguments = [str(FILE), str(tiny["gpt"].folder), "AutoModelForCausalLM",
                 str(tmp_path / "in.safetensors"), str(tmp_path / "out.safetensors")]  # fmt: skip
    program = textwrap.dedent(f"""
        import runpy, sys
        sys.argv = {arguments!r}
        runpy.run_path(sys.argv[0], run_name="__main__")
        print([name for name in sys.modules if name.split(".")[0] == "finetune"])
    """)
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    logits = load_file(tmp_path / "out.safetensors")["0/logits"]
    with torch.inference_mode():
        wanted = tiny["gpt"].load().model(input_ids=bases.numbers(2, 5)).logits
    assert torch.allclose(logits, wanted, atol=1e-5)


def test_the_mean_leaves_padding_out() -> None:
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert fresh.mean_of_tokens(states, mask).tolist() == [[2.0], [4.0]]
    assert fresh.mean_of_tokens(states, torch.zeros_like(mask)).tolist() == [[0.0], [0.0]]


def test_picked_places_come_back_in_order(tiny: dict[str, Base]) -> None:
    model = tiny["gpt"].load().model
    ids = bases.numbers(2, 5)
    pick = torch.zeros(2, 5, dtype=torch.bool)
    pick[0, 3] = pick[1, 1] = True
    found = fresh.run(model, {"0/input_ids": ids, "0/pick": pick, "1/input_ids": ids})
    assert torch.equal(found["0/logits"][0], found["1/logits"][0, 3])
    assert torch.equal(found["0/logits"][1], found["1/logits"][1, 1])


def test_embeddings_are_outputs_too(tiny: dict[str, Base]) -> None:
    inputs = {f"0/{key}": value for key, value in tiny["clip"].inputs().items()}
    assert set(fresh.run(tiny["clip"].load().model, inputs)) == {
        "0/image_embeds",
        "0/text_embeds",
    }


def test_the_wrong_number_of_arguments_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fresh.py", "folder"])
    with pytest.raises(ValueError, match="unpack"):
        fresh.main()
