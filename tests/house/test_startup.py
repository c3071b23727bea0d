"""The first step comes soon: what it doesn't need is not imported before it."""

import importlib.util
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/measure_startup.py"

NOT_NEEDED = re.compile(
    r"torch\._inductor\.(compile_fx|lowering|select_algorithm)|networkx|scipy\.(optimize\._|sparse)"
    r"|sklearn|matplotlib|evaluate|tensorflow|jax|torchvision|torchaudio|librosa|trl|deepspeed|nltk"
    r"|IPython|optuna|triton|numba|finetune\.(reports|stages\.(evaluate|export|report))"
)
"""What a run may need later, or never."""
BOUND = 45.0
"""CPU seconds, more than five times what it takes: nothing that takes minutes slips in."""
MODULES = 4300
"""There were 3,850 where there had been 4,740."""


@pytest.fixture(scope="module")
def measure():
    spec = importlib.util.spec_from_file_location("measure_startup", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["bert", "gpt-lora"])
def test_the_first_step_imports_nothing_that_it_does_not_need(measure, name):
    settings = (
        ("data.clean.label_errors.action=skip",) if name == "bert" else ()
    )  # sklearn, if data are new
    found = measure.first_step((*measure.COMMANDS[name], *settings))
    early = [module for module in found["modules"] if NOT_NEEDED.match(module)]
    assert not early
    assert len(found["modules"]) < MODULES
    assert found["cpu_seconds"] < BOUND
