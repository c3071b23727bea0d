from __future__ import annotations

import fnmatch
import gzip
import inspect
import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from finetune.errors import ArtefactError
from finetune.models import trust

COMMIT = "0123456789abcdef0123456789abcdef01234567"

opened: list[str] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])
    elif event in ("pickle.find_class", "os.system", "subprocess.Popen", "socket.connect"):
        opened.append(event)


sys.addaudithook(_record)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.canary,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 4}))
    save_file({"w": np.ones((2, 2), np.float32)}, path / "model.safetensors")
    return path


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_plain_model_folder_is_accepted(folder: Path) -> None:
    trust.check(folder)


def test_the_real_configurations_of_common_models_are_accepted(folder: Path) -> None:
    write(folder, "config.json", {
        "model_type": "x", "_name_or_path": "org/base", "_num_labels": 3, "torch_dtype": "float32",
        "_attn_implementation_autoset": True, "_attn_implementation": "sdpa",
        "_sliding_window_pattern": 6, "trust_remote_code": False, "auto_map": None,
        "attn_implementation": {"text_config": "eager", "vision_config": None},
        "text_config": {"_name_or_path": "", "model_type": "y"}, "quantization_config": None,
        "id2label": {str(i): f"label {i}" for i in range(10_000)},
    })  # fmt: skip
    write(folder, "preprocessor_config.json", {"_valid_processor_keys": ["images"]})
    write(folder, "data_config.json", [{"name": "a list"}])
    write(folder, "modules.json", [{"type": "sentence_transformers.models.Pooling", "path": ""}])
    (folder / "handler.py").write_text("raise SystemExit('never imported')")
    trust.check(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("pytorch_model.bin", "model.pt", "model.ckpt", "tf_model.h5", "model.pkl", "MODEL.PTH"),
        *("flax_model.msgpack", "pytorch_model.bin.gz", "weights.npy"),
    ],
)
def test_pickle_weights_alone_are_refused_and_never_run(
    name: str, folder: Path, tmp_path: Path
) -> None:
    (folder / "model.safetensors").unlink()
    canary = tmp_path / "canary"
    raw = pickle.dumps(Payload(canary))
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    with pytest.raises(ArtefactError, match="only pickle weights") as caught:
        trust.check(folder)
    assert name in str(caught.value)
    assert "convert" in caught.value.fix
    assert caught.value.exit_code == 4
    assert not canary.exists()
    pickle.loads(raw)
    assert canary.exists(), "the payload is real: unpickling it does leave the canary"


def test_pickles_beside_safetensors_are_never_opened(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / name).write_bytes(pickle.dumps(Payload(canary)))
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')")
    opened.clear()
    trust.check(folder)
    ours = [Path(name).name for name in opened if name.startswith(str(folder))]
    assert set(ours) == {"config.json", "model.safetensors"}
    assert "pickle.find_class" not in opened
    assert not canary.exists()


def test_a_pickle_called_safetensors_is_refused_and_never_run(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(canary)) * 3)
    with pytest.raises(ArtefactError):
        trust.check(folder)
    assert not canary.exists()


CODE = {"auto_map": {"AutoModel": "modeling_evil.Evil"}}
TRAPS: dict[str, tuple[str, Any]] = {
    "code for the model": ("config.json", CODE),
    "code for a part": ("config.json", {"vision_config": {"layers": [CODE]}}),
    "code for the tokenizer": ("tokenizer_config.json", CODE),
    "code for the processor": ("preprocessor_config.json", CODE),
    "code from the hub": ("processor_config.json", {"auto_map": {"AutoProcessor": "a/b--c.D"}}),
    "code for a module": ("modules.json", [{"type": "custom_st.Transformer", "path": ""}]),
    "code for a module's model": ("1_Dense/config.json", CODE),
    "trusts itself": ("config.json", {"trust_remote_code": True}),
    "trusts a part": ("config.json", {"text_config": {"trust_remote_code": True}}),
    "trusts the tokenizer": ("tokenizer_config.json", {"x": [{"trust_remote_code": 1}]}),
    "kernels": ("config.json", {"attn_implementation": "org/kernels"}),
    "kernels, private": ("config.json", {"_attn_implementation": "org/kernels@main:f"}),
    "kernels, internal": ("config.json", {"_attn_implementation_internal": "org/kernels"}),
    "kernels, internal, harmless": ("config.json", {"_attn_implementation_internal": "sdpa"}),
    "kernels of a part": ("config.json", {"text_config": {"attn_implementation": "a/b"}}),
    "kernels by part": ("config.json", {"attn_implementation": {"text_config": "a/b"}}),
    "expert kernels": ("config.json", {"_experts_implementation": "a/b"}),
    "private key": ("config.json", {"_load_hook": "os.system"}),
    "private dictionary": ("config.json", {"text_config": {"_x": {"y": 1}}}),
    "unknown quantisation": ("config.json", {"quantization_config": {"quant_method": "evil"}}),
    "nameless quantisation": ("config.json", {"quantization_config": {"bits": 4}}),
    "an adapter beside": ("adapter_config.json", {"base_model_name_or_path": "evil/base"}),
    "no JSON": ("config.json", "!!python/object"),
    "not an object": ("config.json", "[1]"),
    "deep": ("config.json", '{"a":' * 100_000),
    "huge": ("tokenizer_config.json", '"' + "x" * 17_000_000 + '"'),
}


@pytest.mark.parametrize("name", TRAPS)
def test_a_configuration_that_is_a_trap_is_refused(name: str, folder: Path) -> None:
    file, content = TRAPS[name]
    write(folder, file, content)
    start = time.monotonic()
    with pytest.raises(ArtefactError) as caught:
        trust.check(folder)
    assert time.monotonic() - start < 2
    assert caught.value.where.endswith(file)
    assert caught.value.fix


def test_known_quantisation_is_accepted(folder: Path) -> None:
    quantization = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    write(folder, "config.json", {"quantization_config": quantization})
    trust.check(folder)


def test_nobody_can_ask_for_a_model_s_code(folder: Path) -> None:
    write(folder, "config.json", CODE)
    (folder / "modeling_evil.py").write_text("raise SystemExit('never imported')")
    with pytest.raises(ArtefactError, match="never run: `--trust-remote-code` is for metrics"):
        trust.check(folder)
    assert list(inspect.signature(trust.check).parameters) == ["folder"]


def test_options_are_checked_where_there_are_no_weights_yet(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    trust.check_options(folder)
    write(folder, "tokenizer_config.json", CODE)
    with pytest.raises(ArtefactError, match="code of its own"):
        trust.check_options(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_base_with_weights_that_are_no_numbers_is_refused_by_name(
    value: float, folder: Path
) -> None:
    trust.check_finite(folder)
    weights = {"fine": np.ones(3, np.float32), "sick": np.array([1, value], np.float16)}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ArtefactError, match="in 1 tensors, such as `sick`") as caught:
        trust.check_finite(folder)
    assert caught.value.exit_code == 4


def adapter(folder: Path, **options: Any) -> Path:
    path = folder / "adapter"
    path.mkdir()
    write(path, "adapter_config.json", {"peft_type": "LORA", "r": 4, **options})
    save_file({"lora_A": np.ones((4, 2), np.float32)}, path / "adapter_model.safetensors")
    return path


def test_an_adapter_is_checked_as_strictly_as_a_base(folder: Path, tmp_path: Path) -> None:
    path = adapter(tmp_path, auto_mapping={"base_model_class": "A", "parent_library": "b"})
    trust.check_adapter(path, "adapter_model.safetensors")
    raw = b'{"a":%b,"a":%b}' % ((b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}',) * 2)
    (path / "adapter_model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + b"0")
    with pytest.raises(ArtefactError, match="stands twice"):
        trust.check_adapter(path, "adapter_model.safetensors")
    (path / "adapter_model.safetensors").unlink()
    (path / "adapter_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    with pytest.raises(ArtefactError, match=r"adapter_model\.safetensors` is missing"):
        trust.check_adapter(path, "adapter_model.safetensors")
    (path / "adapter_model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(ArtefactError, match="leaves the model folder"):
        trust.check_adapter(path, "adapter_model.safetensors")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../secret.json", "../model-evil.json", "config.json"]
)
def test_a_link_is_followed_only_inside_the_folder(
    target: str, folder: Path, tmp_path: Path
) -> None:
    for name in ("secret.json", "model-evil.json"):  # the second begins with the folder's own name
        (tmp_path / name).write_text("{}")
    (folder / "tokenizer_config.json").symlink_to(target)
    if target == "config.json":
        trust.check(folder)
    else:
        with pytest.raises(ArtefactError, match="leaves the model folder"):
            trust.check(folder)


def test_links_in_a_module_and_in_circles_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "1_Pooling").mkdir()
    link = folder / "1_Pooling" / "config.json"
    for target in (tmp_path / "elsewhere.json", link):
        link.symlink_to(target)
        with pytest.raises(ArtefactError, match="leaves"):
            trust.check(folder)
        link.unlink()


def as_in_hub_cache(folder: Path, repository: Path) -> Path:
    """Lay a model out as the hub cache does: files are links to blobs."""
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(folder.iterdir()):
        file.rename(repository / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    return snapshot


def test_the_hub_cache_s_own_links_are_accepted(folder: Path, tmp_path: Path) -> None:
    snapshot = as_in_hub_cache(folder, tmp_path / "hub" / "models--org--name")
    trust.check(snapshot)
    (snapshot / "extra.json").symlink_to("../../../other.json")
    with pytest.raises(ArtefactError, match="leaves"):
        trust.check(snapshot)


def test_the_hub_cache_s_shared_blobs_are_accepted(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = as_in_hub_cache(folder, repository)
    shared = tmp_path / "hub" / "blobs"
    shared.mkdir()
    (repository / "blobs" / "0").rename(shared / "ab")
    (repository / "blobs" / "0").symlink_to("../../blobs/ab")
    with pytest.raises(ArtefactError, match="leaves"):
        trust.check(snapshot)
    (shared / ".huggingface-shared-blobs").write_text("1\n")
    trust.check(snapshot)


def test_a_pipe_is_refused_without_waiting_for_it(folder: Path) -> None:
    os.mkfifo(folder / "tokenizer_config.json")
    with pytest.raises(ArtefactError, match="neither a file nor a folder"):
        trust.check(folder)


def test_a_folder_without_configuration_or_weights_is_refused(folder: Path) -> None:
    (folder / "config.json").rename(folder / "kept.json")
    with pytest.raises(ArtefactError, match=r"no config\.json"):
        trust.check(folder)
    (folder / "kept.json").rename(folder / "config.json")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(ArtefactError, match="there is no index"):
        trust.check(folder)
    (folder / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(ArtefactError, match=r"has no `model\.safetensors`"):
        trust.check(folder)


def test_an_adapter_alone_is_refused_as_no_base_model(folder: Path) -> None:
    (folder / "config.json").unlink()
    write(folder, "adapter_config.json", {"base_model_name_or_path": "org/base"})
    with pytest.raises(ArtefactError, match="adapter of `org/base`"):
        trust.check(folder)


def test_broken_weights_of_a_module_are_refused(folder: Path) -> None:
    write(folder, "2_Dense/model.safetensors", "no header")
    with pytest.raises(ArtefactError, match="2_Dense"):
        trust.check(folder)


def test_an_index_is_checked_even_when_it_would_not_be_used(folder: Path) -> None:
    index = {"weight_map": {"w": "../elsewhere.safetensors"}}
    write(folder, "model.safetensors.index.json", index)
    with pytest.raises(ArtefactError, match="no file beside"):
        trust.check(folder)


def test_a_tokenizer_larger_than_the_embeddings_is_refused_with_both_sizes() -> None:
    trust.check_tokenizer_fits(100, 128)
    trust.check_tokenizer_fits(128, 128)
    with pytest.raises(ArtefactError, match=r"129.*128"):
        trust.check_tokenizer_fits(129, 128)


def test_what_counts_as_pickle_covers_what_torch_and_tensorflow_write() -> None:
    written = ["pytorch_model-00001-of-00002.bin", "consolidated.00.pth", "model.ckpt", "a.joblib"]
    assert all(any(fnmatch.fnmatch(name, p) for p in trust.PICKLES) for name in written)
