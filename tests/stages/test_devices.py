"""Where to compute, and in which precision."""

from __future__ import annotations

import pytest
import torch

from finetune.errors import ConfigError
from finetune.stages import devices

NO_GPU = not torch.cuda.is_available()


@pytest.mark.skipif(not NO_GPU, reason="there is a CUDA device")
def test_auto_without_an_accelerator_is_the_cpu_in_full_precision():
    if not torch.backends.mps.is_available():
        assert devices.choose("auto", "auto") == devices.Device("cpu", "fp32")


@pytest.mark.skipif(not NO_GPU, reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_said(device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is an Apple GPU")
    with pytest.raises(ConfigError, match=f"train.device={device}"):
        devices.choose(device, "auto")


def test_fp16_needs_a_gpu():
    with pytest.raises(ConfigError, match="fp16"):
        devices.choose("cpu", "fp16")


def test_a_precision_that_is_asked_for_is_taken():
    assert devices.choose("cpu", "bf16") == devices.Device("cpu", "bf16")


@pytest.mark.parametrize(
    ("device", "native", "said"),
    [
        (devices.Device("cpu", "bf16"), False, True),
        (devices.Device("cpu", "bf16"), True, False),
        (devices.Device("cpu", "fp32"), False, False),
        (devices.Device("cuda:0", "bf16"), False, False),
    ],
)
def test_bf16_without_instructions_for_it_is_said(monkeypatch, device, native, said):
    monkeypatch.setattr(devices.processors, "computes_bf16", lambda: native)
    assert (devices.slower_than_needed(device) is not None) == said


def test_rank_and_world_come_from_the_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert devices.world() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert devices.world() == (3, 4)
