"""What libraries import and may never use is imported when it is used, and is the real thing."""

import gc
import importlib
import subprocess
import sys

import pytest
import torch

from finetune.stages import postponed

SHAPES = """
def area(side):
    return side * side
VERSION = len([1])
"""


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    package = tmp_path / "postponed_shapes"
    package.mkdir()
    (package / "__init__.py").write_text(SHAPES)
    (package / "round.py").write_text("from postponed_shapes import VERSION\nPI = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(postponed.LAZY, package.name, ("area",))
    monkeypatch.setattr(sys, "meta_path", [postponed.Postponing(), *sys.meta_path])
    yield package.name
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def test_a_function_that_is_bound_does_not_execute_its_module_until_it_is_called(shapes):
    area = importlib.import_module(shapes).area
    assert isinstance(sys.modules[shapes], postponed.Postponed)
    assert area(3) == 9
    assert type(sys.modules[shapes]).__name__ == "module"
    assert sys.modules[shapes].area is not area  # the module has its own again
    assert area(2) == 4


def test_asking_for_anything_else_executes_it(shapes):
    module = importlib.import_module(shapes)
    assert not hasattr(module, "__wrapped__")  # what every tool asks of everything
    assert isinstance(module, postponed.Postponed)
    assert module.VERSION == 1
    assert importlib.import_module(shapes) is module


def test_two_that_postpone_do_not_ask_each_other(shapes, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [postponed.Postponing(), *sys.meta_path])
    assert importlib.import_module(shapes).area(3) == 9


def test_a_submodule_finds_its_parent_executed(shapes):
    importlib.import_module(shapes)
    assert importlib.import_module(f"{shapes}.round").PI == 3
    assert not isinstance(sys.modules[shapes], postponed.Postponed)


def test_looking_for_a_module_imports_nothing(shapes):
    assert importlib.util.find_spec(shapes) is not None
    assert shapes not in sys.modules


def test_a_module_that_fails_leaves_nothing_behind(shapes, tmp_path):
    (tmp_path / shapes / "__init__.py").write_text("raise ImportError('broken')")
    module = importlib.import_module(shapes)
    with pytest.raises(ImportError, match="broken"):
        _ = module.VERSION
    assert shapes not in sys.modules


def test_a_function_is_compiled_when_it_is_first_called(monkeypatch):
    asked = []

    def compiler(model, **options):
        asked.append(options)
        return lambda *given: model(*given) + 1

    monkeypatch.setattr(torch, "compile", compiler)
    with postponed.compiling_later():
        plain = torch.compile(lambda x: x, dynamic=True)
        decorated = torch.compile(mode="default")(lambda x: x)
    assert torch.compile is compiler
    assert asked == []
    assert [plain(1), plain(2), decorated(3)] == [2, 3, 4]
    assert asked == [{"dynamic": True}, {"mode": "default"}]


def test_the_collector_is_as_before_once_training_begins(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(postponed, "usual", [])
    before = gc.get_threshold()
    try:
        gc.set_threshold(500, 7, 7)
        postponed.install()
        postponed.install()
        assert gc.get_threshold() == postponed.COLLECT
        assert sum(isinstance(f, postponed.Postponing) for f in sys.meta_path) == 1
        with postponed.settled():
            assert gc.get_threshold() == (500, 7, 7)
            assert gc.get_freeze_count() > 0
        assert gc.get_freeze_count() == 0
    finally:
        gc.set_threshold(*before)


REAL = """
import sys
from finetune.stages import postponed
postponed.install()
import torch, peft, bitsandbytes
assert "torch._inductor.compile_fx" not in sys.modules
layer = bitsandbytes.nn.Linear4bit(64, 64, compute_dtype=torch.float32, quant_type="nf4")
layer.load_state_dict(torch.nn.Linear(64, 64).state_dict())
layer.to("cpu")
assert layer(torch.ones(2, 64)).isfinite().all()
assert bitsandbytes.__spec__.loader.get_filename("bitsandbytes").endswith("__init__.py")
from transformers.loss.loss_for_object_detection import linear_sum_assignment
assert "scipy.optimize._lsap" not in sys.modules
rows, columns = linear_sum_assignment([[4, 1, 3], [2, 0, 5], [3, 2, 2]])
assert list(columns) == [1, 0, 2]
from scipy.optimize import minimize
from scipy.optimize._linesearch import line_search_wolfe2
assert abs(minimize(lambda x: (x[0] - 1) ** 2, [0.0]).x[0] - 1) < 1e-4
import sklearn.linear_model
"""


def test_the_real_libraries_work_after_all():
    done = subprocess.run(
        [sys.executable, "-c", REAL], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
