"""How much memory a model takes while it is loaded, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from finetune.models import heap

ROOT = Path(__file__).resolve().parents[2]
LOADS = [
    ("bfloat16", "float32", 1),  # for what is imported along with it
    ("float32", "bfloat16", 0),
    ("bfloat16", "bfloat16", 0),
    ("float32", "float32", 1),
    ("bfloat16", "float32", 1),
    ("float32", "bfloat16", 1),
]
PROGRAM = """
import ctypes, gc, json, sys, threading, time
from pathlib import Path
import bitsandbytes, transformers
from transformers.integrations.bitsandbytes import Bnb4bitQuantize
from finetune.models.load import LoadOptions, Quantization, load

def now():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

def held():
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return now()

def watch():
    while not done.is_set():
        seen.append(now())
        time.sleep(0.003)

convert = Bnb4bitQuantize.convert
def watched(self, *args, **kwargs):
    if not done.is_set():
        seen.append(held())
    return convert(self, *args, **kwargs)
Bnb4bitQuantize.convert = watched
found = []
for stored, dtype, quantized in json.loads(sys.argv[2]):
    gc.collect()
    seen, before = [], held()
    done = threading.Event()
    if not quantized:  # while one is quantised, what glibc keeps would be counted as well
        threading.Thread(target=watch).start()
    options = LoadOptions(dtype=dtype, quantization=Quantization() if quantized else None)
    kept = load(Path(sys.argv[1]) / stored, transformers.AutoModelForCausalLM, options)
    done.set()
    seen.append(held())
    del kept
    gc.collect()
    held()  # and once more, unwatched: to watch gives memory back
    kept = load(Path(sys.argv[1]) / stored, transformers.AutoModelForCausalLM, options)
    left = now() - held()
    found.append([max(seen) - before, seen[-1] - before, left])
    del kept
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """Return bytes by (stored type, loaded type, quantised): peak, end, left to give back."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell what a process holds")
    folder = tmp_path_factory.mktemp("big")
    config = transformers.LlamaConfig(
        vocab_size=4000, hidden_size=512, intermediate_size=1376, num_hidden_layers=8,
        num_attention_heads=8, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    for dtype in ("float32", "bfloat16"):
        model.to(getattr(torch, dtype)).save_pretrained(folder / dtype, max_shard_size="20MB")
        assert len(list((folder / dtype).glob("*.safetensors"))) >= 3
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(LOADS)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    whole = 4 * sum(parameter.numel() for parameter in model.parameters())
    found = json.loads(ran.stdout.splitlines()[-1])
    return whole, dict(zip(LOADS[1:], found[1:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_weights_are_read_in_the_type_they_are_held_in(stored, sizes):
    whole, found = sizes
    peak, end, _ = found[stored, "bfloat16", 0]
    assert end <= 0.6 * whole
    assert peak <= 0.75 * whole


@pytest.mark.slow
@pytest.mark.parametrize("load", [load for load in LOADS[1:] if load[2]])
def test_a_quantised_model_is_never_whole_in_full_precision(load, sizes):
    """Embeddings and head, a seventh of this model, stay as they are."""
    whole, found = sizes
    peak, end, _ = found[load]
    assert end <= 0.35 * whole
    assert peak <= 0.6 * whole


@pytest.mark.slow
def test_what_loading_has_let_go_of_is_not_held_any_longer(sizes):
    whole, found = sizes
    for load, (_, _, left) in found.items():
        if load[2]:
            assert left <= 0.05 * whole, load


def test_another_c_library_is_left_alone(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(heap.ctypes, "CDLL", missing)
    heap.give_back()
