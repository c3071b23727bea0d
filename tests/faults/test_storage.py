"""A full disk, a broken one, one that may not be written, a folder in use, planted links."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetune.runs import storage
from finetune.training import checkpoint
from tests.faults.command import QUICK, SAVING, call, kill, leftovers, start, wait_for

is_root = hasattr(os, "geteuid") and os.geteuid() == 0
without = {name: shutil.which(name) is None for name in ("strace", "setpriv", "mount")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a disk of its own, or mount it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(options: str) -> Path:
        options = f"remount,{options}" if mounted else options
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this system does not allow mounting")
        mounted.append(options)
        return folder

    if not is_root or without["mount"]:
        pytest.skip("mounting needs root")
    yield mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# --- a full disk


def weights(run: Path, step: int) -> str:
    """Return the hash of what was trained."""
    return storage.sha256(run / "checkpoints" / f"step-{step}" / "adapter_model.safetensors")


def fills_up(folder: Path) -> Path:
    """Run on a disk that has room for one checkpoint, and check what that leaves."""
    ended = call(*QUICK, *SAVING, "train.max_steps=4", folder=folder)
    assert ended.code == 6, ended.err
    assert re.search(r"the disk is full.* \([\d, a-z]*[\d,]+ bytes free\)", ended.err), ended.err
    assert "give the same command again" in ended.err
    assert "Traceback" not in ended.err
    run = folder / "runs" / "case"
    assert [entry.name for entry in checkpoint.all_in(run / "checkpoints")] == ["step-2"]
    assert checkpoint.problem_with(run / "checkpoints" / "step-2") is None
    storage.read_json(run / "manifest.json")
    assert not (run / "merged").exists()
    assert leftovers(run) == []
    return run


@pytest.mark.slow
def test_a_disk_that_fills_up_costs_one_checkpoint_and_the_rest_is_as_if_nothing_had_been(
    small_disk, tmp_path
):
    run = fills_up(small_disk("size=1800k"))
    small_disk("size=64m")
    resumed = call(*QUICK, *SAVING, "train.max_steps=4", folder=run.parents[1])
    assert resumed.code == 0, resumed.err
    assert "going on from step-2" in resumed.err
    assert leftovers(run) == []
    assert not (run / "error.json").exists()
    (tmp_path / "other").mkdir()
    assert call(*QUICK, *SAVING, "train.max_steps=4", folder=tmp_path / "other").code == 0
    assert weights(run, 4) == weights(tmp_path / "other" / "runs" / "case", 4)


# --- a broken disk


def failing_syncs(when: str, log: Path) -> list[str]:
    """Return the command under which some syncs report that the disk is broken."""
    if without["strace"]:
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "-y", "--seccomp-bpf", "-o", str(log), "-e", "trace=fsync"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow tracing")
    return [*command, "-e", f"inject=fsync:error=EIO:when={when}"] if when else command


def test_a_disk_that_cannot_keep_the_first_file_ends_the_run_at_once(tmp_path):
    log = tmp_path / "strace"
    prefix = failing_syncs("1", log)
    ended = call(*QUICK, "train.max_steps=2", folder=tmp_path, prefix=prefix)
    assert ended.code == 6, ended.err
    assert "the disk reports an input/output error" in ended.err
    run = tmp_path / "runs" / "case"
    assert {entry.name for entry in run.iterdir()} <= {".lock", "error.json"}
    first = log.read_text("utf-8").splitlines()[0]
    assert "INJECTED" in first
    assert "config.yaml" in first
    assert "going on" not in ended.err


@pytest.mark.slow
def test_a_checkpoint_that_the_disk_could_not_keep_is_none(tmp_path):
    log, run = tmp_path / "strace", tmp_path / "runs" / "case"
    command = (*QUICK, *SAVING, "train.max_steps=4")
    assert call(*command, folder=tmp_path, prefix=failing_syncs("", log)).code == 0
    wanted = weights(run, 4)
    syncs = log.read_text("utf-8").splitlines()
    saving = [line for line in syncs if "checkpoints/" in line and "adapter_model" in line]
    assert len(saving) == 2, saving
    thread = saving[1].split()[0]  # strace counts the calls of each thread by itself
    later = [line for line in syncs if line.startswith(thread)].index(saving[1]) + 1
    shutil.rmtree(run)
    ended = call(*command, folder=tmp_path, prefix=failing_syncs(str(later), log))
    assert ended.code == 6, ended.err
    assert [entry.name for entry in checkpoint.all_in(run / "checkpoints")] == ["step-2"]
    injected = [line for line in log.read_text("utf-8").splitlines() if "INJECTED" in line]
    assert len(injected) == 1, "a sync that failed is not tried again"
    resumed = call(*command, folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert "going on from step-2" in resumed.err
    assert weights(run, 4) == wanted


# --- a place that may not be written


def refused_before_anything_heavy(folder: Path, prefix: tuple[str, ...], why: str) -> None:
    """Run into the refusal; what was imported until then is on standard error."""
    python = ("-X", "importtime", "-m", "finetune")
    ended = call(*QUICK, "train.max_steps=2", folder=folder, prefix=prefix, python=python)
    assert ended.code == 6, ended.err[-2000:]
    said = [line for line in ended.err.splitlines() if not line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert any(why in line for line in said), said
    assert any("run.dir=FOLDER" in line for line in said), said
    assert {"finetune.runs.folder"} <= imported
    assert not imported & {"torch", "transformers", "datasets"}
    assert ended.seconds < 2 * 5, "2 s promised, with room for a busy machine"


def test_a_read_only_disk_is_refused_before_the_model_is_touched(small_disk):
    refused_before_anything_heavy(small_disk("ro,size=1m"), (), "read-only")


def test_a_folder_that_is_not_ours_is_refused_before_the_model_is_touched(tmp_path):
    prefix: tuple[str, ...] = ()
    if is_root:  # who may write everywhere
        if without["setpriv"]:
            pytest.skip("setpriv is not installed")
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    (tmp_path / "runs").mkdir(mode=0o500)
    refused_before_anything_heavy(tmp_path, prefix, "permission is denied")


# --- a folder in use


def test_a_second_run_is_refused_naming_the_first_and_free_when_that_is_killed(tmp_path):
    lock = tmp_path / "runs" / "case" / ".lock"
    command = (*QUICK, "train.max_steps=1000")
    first = start(*command, folder=tmp_path)
    try:
        wait_for(lambda: lock.is_file() and lock.read_text("utf-8"), first)
        second = call(*command, folder=tmp_path)
        assert second.code == 7, second.err
        who = rf"in use by process {first.pid} on {re.escape(socket.gethostname())} since \d{{4}}-"
        assert re.search(who, second.err), second.err
        assert second.seconds < 2 * 5, "1 s beside the start-up, with room for a busy machine"
        assert first.poll() is None
    finally:
        kill(first)
    assert first.returncode == -signal.SIGKILL
    third = start(*command, folder=tmp_path)
    try:
        wait_for(lambda: f"process {third.pid} on" in lock.read_text("utf-8"), third)
    finally:
        kill(third)


# --- a folder that was moved


@pytest.mark.slow
def test_an_unfinished_run_goes_on_where_it_was_moved_to(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after" / "renamed"
    before.mkdir()
    after.parent.mkdir()
    command = (*QUICK, *SAVING, "train.max_steps=40")
    run = before / "runs" / "case"
    first = start(*command, folder=before)
    wait_for((run / "checkpoints" / "step-4").is_dir, first)
    kill(first)
    shutil.move(run, after)
    shutil.rmtree(before)
    resumed = call(f"run={after}", folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert re.search(r"going on from step-\d+", resumed.err), resumed.err
    assert not before.exists()
    told = [
        str(file.relative_to(after))
        for file in sorted(after.rglob("*"))
        if file.is_file() and str(before).encode() in file.read_bytes()
    ]
    assert told == []


# --- planted links


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A folder that a link leads to, checked for being as it was."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "precious").write_text("precious", "utf-8")
    yield folder
    assert [entry.name for entry in folder.iterdir()] == ["precious"]
    assert (folder / "precious").read_text("utf-8") == "precious"


@pytest.mark.parametrize("name", [".lock", "checkpoints", "logs", "data", "manifest.json"])
def test_a_link_that_waits_in_a_new_run_s_folder_is_not_followed(name, tmp_path, victim):
    run = tmp_path / "runs" / "case"
    run.mkdir(parents=True)
    (run / name).symlink_to(victim / "precious" if "." in name else victim)
    ended = call(*QUICK, "train.max_steps=1", folder=tmp_path)
    assert ended.code == 6, ended.err


def test_a_link_planted_in_an_unfinished_run_is_refused_and_named(tmp_path, victim):
    command = (*QUICK, "train.max_steps=1")
    assert call("prepare", *command, folder=tmp_path).code == 0
    run = tmp_path / "runs" / "case"
    for name in ("checkpoints", "logs"):
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).symlink_to(victim)
        ended = call(*command, folder=tmp_path)
        assert ended.code == 6, ended.err
        assert f"{name}` is a symbolic link" in ended.err
        (run / name).unlink()
