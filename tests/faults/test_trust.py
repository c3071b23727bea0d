"""A base model from somebody else, given to the real command line: read as data or refused."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.faults.command import QUICK, ROOT, call
from tests.stages.finished import Said, say

TINY = ROOT / "finetune" / "models" / "tiny" / "bert"
WATCHED = """
import json, os, sys
target, folder = os.environ["WATCH_LOG"], os.environ["WATCH_FOLDER"]
seen = {"open": [], "other": []}
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(folder):
        seen["open"].append(arguments[0])
    elif event == "pickle.find_class" and arguments[1] in ("touch", "system"):
        seen["other"].append([event, *map(str, arguments)])
    elif event in ("socket.connect", "socket.getaddrinfo"):
        seen["other"].append([event, str(arguments[1:])])
sys.addaudithook(watch)
from finetune import cli
code = cli.call(sys.argv[1:])
seen["modules"] = [name for name in sys.modules if "evil" in name]
open(target, "w").write(json.dumps(seen))
os._exit(code)
"""
"""The command line, with what it opens below a folder, unpickles and connects to written down."""


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.canary,))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A sound base model to spoil."""
    shutil.copytree(TINY, tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What a hostile input would make, if it ran."""
    return tmp_path / "canary"


def changed(file: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(config | values), encoding="utf-8")


def told(base: Path, *more: str) -> Said:
    """Run the job on a base in this process; a refusal comes before anything is prepared."""
    folder = base.parent / "runs"
    command = [item for item in QUICK if not item.startswith("model=")]
    said = say(*command, f"model.name_or_path={base}", f"run.dir={folder}", *more)
    assert not (folder / "case" / "data").exists()
    assert not (folder / "case" / "checkpoints").exists()
    return said


def refused(base: Path, *more: str) -> str:
    """Return the sentence with which a base is refused, and check its form."""
    said = told(base, *more)
    assert said.code == 4, said.err
    (problem,) = said.problems()
    error = json.loads((base.parent / "runs" / "case" / "error.json").read_text("utf-8"))
    assert error["code"] == 4
    return problem


# --- pickles


def zipped(raw: bytes) -> bytes:
    """Return what torch.save makes of a pickle."""
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    return buffer.getvalue()


WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    "pytorch_model.bin": bytes,
    "model.pt": zipped,
    "model.ckpt": lambda raw: raw * 3,  # stacked: a scanner that stops at the first sees no more
    "pytorch_model.bin.gz": gzip.compress,
    "weights.zip": zipped,
    "model.pkl": lambda raw: b"\x00" * 16 + raw,
    "tf_model.h5": bytes,
    "weights.xz": lzma.compress,
    "weights.bz2": bz2.compress,
    "model.onnx": bytes,  # a wrong extension
    "model": bytes,  # none
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_weights_that_are_pickles_in_any_wrapper_are_refused_and_never_run(name, base, canary):
    (base / "model.safetensors").unlink()
    (base / name).write_bytes(WRAPPERS[name](pickle.dumps(Payload(canary))))
    assert "safetensors" in refused(base) or "pickle" in refused(base)
    assert not canary.exists()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("wrap", [bytes, zipped, gzip.compress], ids=["plain", "zip", "gz"])
def test_a_pickle_under_an_honest_name_is_refused_and_never_run(wrap, file, base, canary):
    (base / file).write_bytes(wrap(pickle.dumps(Payload(canary))))
    assert refused(base)
    assert not canary.exists()


def test_a_whole_run_opens_only_safe_files_beside_hostile_ones_and_calls_nobody(
    base, canary, tmp_path
):
    raw = pickle.dumps(Payload(canary))
    evil = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth",
            "scheduler.pt", "model.pkl")  # fmt: skip
    for name in evil:
        (base / name).write_bytes(zipped(raw) if name.endswith("pt") else raw)
    np.save(base / "objects.npy", np.array([Payload(canary)], object), allow_pickle=True)
    code = f"open({str(canary)!r}, 'w')"
    for name in ("modeling_evil.py", "configuration_evil.py", "__init__.py", "custom_generate.py"):
        (base / name).write_text(code, "utf-8")
    command = [item for item in QUICK if not item.startswith("model=")]
    ended = call(
        *command,
        f"model.name_or_path={base}",
        "train.max_steps=1",
        folder=tmp_path,
        python=("-c", WATCHED),
        WATCH_LOG=str(tmp_path / "seen.json"),
        WATCH_FOLDER=str(base),
        HF_HUB_OFFLINE="0",
    )
    assert ended.code == 0, ended.err
    seen = json.loads((tmp_path / "seen.json").read_text("utf-8"))
    names = {Path(name).name for name in seen["open"]}
    assert "config.json" in names, "the watch is on"
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".txt", ".md"}
    assert seen["other"] == []
    assert seen["modules"] == []
    assert not canary.exists()
    manifest = json.loads((tmp_path / "runs" / "case" / "manifest.json").read_text("utf-8"))
    known = manifest["base_model"]["sha256"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(known)
    assert not set(evil) & set(known)


# --- options that would run code, or lead elsewhere

CODE = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("flag", [(), ("--trust-remote-code",)], ids=["", "flag"])
def test_code_beside_a_model_is_never_run_also_when_metrics_code_is_trusted(
    flag, file, base, canary
):
    (base / "evil.py").write_text(f"open({str(canary)!r}, 'w')", "utf-8")
    changed(base / file, **CODE)
    assert "never run: `--trust-remote-code` is for metrics alone" in refused(base, *flag)
    assert not canary.exists()


@pytest.mark.parametrize(
    "key", ["trust_remote_code", "model.trust_remote_code", "+model.trust_remote_code"]
)
def test_no_setting_and_no_recipe_can_trust_code(key, base, tmp_path, monkeypatch):
    said = told(base, f"{key}=true")
    assert said.code == 2, said.err
    folder = tmp_path / "recipes"
    folder.mkdir()
    section = "trust_remote_code: true" if "." not in key else "model: {trust_remote_code: true}"
    (folder / "mine.yaml").write_text(
        f"defaults:\n  - bert/text_classification\n  - _self_\n{section}\n", "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    said = say("show", "recipe=mine")
    assert said.code == 2, said.err
    assert "trust_remote_code" in said.err


TRAPS: dict[str, dict[str, Any]] = {
    "trusts itself, nested": {"text_config": {"trust_remote_code": True}},
    "kernels": {"attn_implementation": "org/repo"},
    "kernels, private": {"_attn_implementation": "org/repo"},
    "kernels, internal": {"_attn_implementation_internal": "org/repo"},
    "quantisation": {"quantization_config": {"quant_method": "evil"}},
    "a part from elsewhere": {"use_pretrained_backbone": True, "backbone": "org/repo"},
}


@pytest.mark.parametrize("name", TRAPS)
def test_an_option_that_leads_elsewhere_is_refused(name, base):
    changed(base / "config.json", **TRAPS[name])
    assert "must not" in refused(base)


def test_an_adapter_as_a_base_does_not_lead_to_the_base_that_it_names(base):
    changed(base / "adapter_config.json", base_model_name_or_path="evil/base", peft_type="LORA")
    assert "adapter of `evil/base`" in refused(base)


# --- files that are not what they say


def header(base: Path, text: str, data: bytes) -> None:
    (base / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def test_a_header_that_names_a_tensor_twice_or_lets_two_share_bytes_is_refused(base):
    one = '{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'
    header(base, f'{{"a":{one},"a":{one}}}', b"12")
    assert "stands twice" in refused(base)
    header(base, f'{{"a":{one},"b":{one}}}', b"12")
    assert "overlaps" in refused(base)


def test_a_shard_outside_of_the_folder_is_refused(base):
    (base / "model.safetensors").rename(base.parent / "outside.safetensors")
    index = {"weight_map": {"w": "../outside.safetensors"}}
    changed(base / "model.safetensors.index.json", **index)
    assert "no file beside it" in refused(base)


def test_weights_that_are_not_finite_are_refused_by_name(base):
    weights = load_file(base / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    assert name in refused(base)


def test_a_tokenizer_that_knows_more_than_the_model_is_refused_with_both_sizes(base):
    changed(base / "config.json", vocab_size=20)
    problem = refused(base)
    assert "embeddings for 20" in problem


@pytest.mark.slow
@pytest.mark.parametrize("change", ["drop", "rename"])
def test_only_the_new_head_may_be_missing(change, base, tmp_path):
    weights = load_file(base / "model.safetensors")
    name = sorted(key for key in weights if "layer" in key)[0]
    value = weights.pop(name)
    if change == "rename":
        weights[f"{name}_"] = value
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    command = [item for item in QUICK if not item.startswith("model=")]
    ended = call(*command, f"model.name_or_path={base}", "train.max_steps=1", folder=tmp_path)
    assert ended.code == 4, ended.err
    assert "1 tensors are missing or of another shape" in ended.err
    assert not (tmp_path / "runs" / "case" / "merged").exists()
