"""Nested state as safetensors and JSON: it comes back as it was, and no pickle is written."""

from __future__ import annotations

import pytest
import torch

from finetune.errors import ArtefactError
from finetune.training import tensors


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


def test_numbers_names_and_tensors_come_back_exactly(tmp_path):
    state = {
        "state": {
            0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(3, 2)},
            11: {"state1": torch.arange(4, dtype=torch.uint8), "half": torch.ones(2).bfloat16()},
        },
        "param_groups": [{"lr": 0.1 + 0.2, "fused": None, "params": [0, 11], "name": "é"}],
    }
    tensors.write(tmp_path, "optimizer", state)
    assert same(state, tensors.read(tmp_path, "optimizer"))
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_an_optimizer_that_is_read_back_steps_bit_identically(tmp_path):
    def steps(parameter, optimizer, first, last):
        for number in range(first, last):
            parameter.grad = torch.sin(torch.arange(6.0) * number)
            optimizer.step()

    one = torch.nn.Parameter(torch.linspace(-1, 1, 6))
    whole = torch.optim.AdamW([one], lr=0.1, fused=True)
    steps(one, whole, 0, 3)
    other = torch.nn.Parameter(one.detach().clone())
    resumed = torch.optim.AdamW([other], lr=0.7)
    tensors.write(tmp_path, "optimizer", whole.state_dict())
    resumed.load_state_dict(tensors.read(tmp_path, "optimizer"))
    steps(one, whole, 3, 6)
    steps(other, resumed, 3, 6)
    assert torch.equal(one, other)


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    shared = torch.arange(3.0)
    tensors.write(tmp_path, "x", {"a": shared, "b": [shared, shared[1:]]})
    assert same({"a": shared, "b": [shared, shared[1:]]}, tensors.read(tmp_path, "x"))


def test_an_object_has_no_place(tmp_path):
    with pytest.raises(TypeError, match=r"A function at `/hook` has no place"):
        tensors.write(tmp_path, "x", {"hook": lambda: None})


@pytest.mark.parametrize("content", ['{"pairs": [["a", {"tensor": "/b"}]]}', "{", '{"a": 1}'])
def test_files_that_do_not_belong_together_are_refused(tmp_path, content):
    tensors.write(tmp_path, "x", {"a": torch.ones(1)})
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"x\.json` does not fit"):
        tensors.read(tmp_path, "x")


def test_what_owns_its_memory_is_written_without_a_copy():
    whole, places = torch.ones(3), set()
    assert tensors.alone(whole, places).data_ptr() == whole.data_ptr()
    assert tensors.alone(whole, places).data_ptr() != whole.data_ptr()  # shared with the first
    part = torch.ones(4)[:2]
    assert tensors.alone(part, places).data_ptr() != part.data_ptr()
    turned = torch.ones(2, 3).T
    assert tensors.alone(turned, places).is_contiguous()
