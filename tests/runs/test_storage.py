"""Files are complete or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.errors import StorageError
from finetune.runs import storage

REFUSALS = sorted(storage.EXPLAINED)


def failing(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_before_the_file_is_in_place_the_old_one_is_whole(moment, tmp_path):
    file = tmp_path / "a.json"
    storage.write_json(file, {"old": True})
    die = "lambda *a, **k: os.kill(os.getpid(), 9)"
    patch = f"os.fsync = {die}" if moment == "fsync" else f"pathlib.Path.replace = {die}"
    code = (
        f"import os, pathlib\nfrom finetune.runs import storage\n{patch}\n"
        f"storage.write_json(pathlib.Path({str(file)!r}), {{'new': True}})\n"
    )
    root = Path(storage.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert storage.read_json(file) == {"old": True}


@pytest.mark.parametrize("code", REFUSALS, ids=errno.errorcode.get)
def test_each_refusal_of_the_system_is_one_sentence_and_leaves_nothing(code, tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    storage.write_text(file, "old")
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(StorageError) as caught:
        storage.write_text(file, "new")
    assert caught.value.exit_code == 6
    assert len(caught.value.problems) == 1
    assert str(file) in caught.value.problems[0]
    assert caught.value.fix
    assert file.read_text("utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_says_how_much_is_free_and_that_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(StorageError) as caught:
        storage.write_text(tmp_path / "a", "x")
    assert "bytes free" in caught.value.problems[0]
    assert "same command again" in caught.value.fix


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk_is_told_and_nothing_is_lost(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow mounting")
    try:
        file = folder / "a.txt"
        storage.write_text(file, "old")
        with pytest.raises(StorageError, match="the disk is full"):
            storage.write_text(file, "x" * 200_000)
        assert file.read_text("utf-8") == "old"
        assert [entry.name for entry in folder.iterdir()] == ["a.txt"]
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(StorageError, match="read-only"):
            storage.write_text(file, "new")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_met_by_a_library_in_rust_is_told_too(tmp_path):
    with pytest.raises(StorageError, match="the disk is full"), storage.explained(tmp_path / "a"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_met_by_torch_is_told_too(tmp_path):
    import torch

    told = r"the disk is full or broken.*bytes free"
    with pytest.raises(StorageError, match=told), storage.explained(tmp_path / "optimizer.pt"):
        torch.save({"state": torch.zeros(100_000)}, "/dev/full")


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), storage.explained(tmp_path):
        (tmp_path / "none").read_text("utf-8")
    with pytest.raises(ValueError, match="mine"), storage.explained(tmp_path):
        raise ValueError("mine")


def test_a_link_planted_at_the_target_is_replaced_not_followed(tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "a.txt"
    victim.write_text("precious", "utf-8")
    file.symlink_to(victim)
    storage.write_text(file, "new")
    assert victim.read_text("utf-8") == "precious"
    assert not file.is_symlink()
    assert file.read_text("utf-8") == "new"


def test_a_link_planted_at_the_temporary_name_is_refused(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious", "utf-8")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic link"):
        storage.write_text(tmp_path / "a.txt", "new")
    assert victim.read_text("utf-8") == "precious"


def test_a_log_that_is_a_link_is_refused(tmp_path):
    victim, log = tmp_path / "victim", tmp_path / "log.jsonl"
    victim.write_text("precious", "utf-8")
    log.symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic link"):
        storage.append_line(log, {"a": 1})
    assert victim.read_text("utf-8") == "precious"


def test_a_file_where_a_folder_belongs_is_told(tmp_path):
    (tmp_path / "a").touch()
    for target in (tmp_path / "a" / "b.txt", tmp_path / "a" / "b" / "c.txt"):
        with pytest.raises(StorageError, match="a file stands where a folder belongs"):
            storage.write_text(target, "x")


def test_a_folder_where_a_file_belongs_is_told(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(StorageError, match="a folder stands where a file belongs"):
        storage.write_text(tmp_path / "a.txt", "x")


def test_json_is_strict_and_keeps_every_letter(tmp_path):
    file = tmp_path / "a.json"
    storage.write_json(file, {1: [math.nan, (math.inf, -math.inf)], "é": {"x": 0.5}})
    text = file.read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "1": [None, [None, None]],
        "é": {"x": 0.5},
    }
    assert "é" in text
    assert text.endswith("\n")


def test_lines_are_strict_json_one_each(tmp_path):
    file = tmp_path / "a.jsonl"
    storage.write_jsonl(file, [{"a": math.nan}, {"b": "x\ny\u2028z"}])
    storage.append_line(file, {"c": math.inf})
    assert file.read_bytes().count(b"\n") == 3
    assert storage.read_jsonl(file) == [{"a": None}, {"b": "x\ny\u2028z"}, {"c": None}]


def test_a_last_line_cut_anywhere_is_left_out(tmp_path):
    file = tmp_path / "a.jsonl"
    storage.write_jsonl(file, [{"a": 1}, {"b": "née"}])
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):
        file.write_bytes(whole[:end])
        assert storage.read_jsonl(file) == [{"a": 1}], whole[:end]
    file.write_bytes(whole[:-1])
    assert storage.read_jsonl(file) == [{"a": 1}, {"b": "née"}]


def test_a_broken_line_in_the_middle_is_no_silent_loss(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"a": 1}\n{"b\n{"c": 3}\n')
    with pytest.raises(ValueError, match="Unterminated"):
        storage.read_jsonl(file)


def test_a_folder_is_published_whole_or_not_at_all(tmp_path):
    target = tmp_path / "merged"
    with storage.staged_folder(target) as staging:
        (staging / "a").write_text("1", "utf-8")
        assert not target.exists()

    def publish_half() -> None:
        with storage.staged_folder(target) as staging:
            (staging / "a").write_text("2", "utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_half()
    assert (target / "a").read_text("utf-8") == "1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["merged"]


def test_what_an_earlier_crash_left_in_the_staging_folder_is_not_published(tmp_path):
    target = tmp_path / "merged"
    (tmp_path / ".merged.tmp").mkdir()
    (tmp_path / ".merged.tmp" / "stale").touch()
    with storage.staged_folder(target) as staging:
        (staging / "a").touch()
    assert [entry.name for entry in target.iterdir()] == ["a"]


def test_removing_a_link_leaves_what_it_points_to(tmp_path):
    (tmp_path / "precious").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "precious")
    storage.remove_tree(link)
    assert (tmp_path / "precious").is_dir()
    assert not link.is_symlink()
    storage.remove_tree(tmp_path / "none")


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert storage.sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_a_sync_that_failed_is_not_tried_again(tmp_path, monkeypatch):
    synced = []

    def fail(descriptor):
        synced.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="input/output error"):
        storage.write_text(tmp_path / "a", "x")
    assert len(synced) == 1
    assert list(tmp_path.iterdir()) == []


def test_file_and_folder_are_synced_in_this_order(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace

    def noted(descriptor):
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def moved(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", moved)
    storage.write_text(tmp_path / "a", "x")
    assert done == ["file", "rename", "folder"]


def test_needed_and_free_bytes_stand_in_the_message_of_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"\(12,345 bytes needed, [\d,]+ bytes free\)"):
        storage.write_text(tmp_path / "a", "x" * 12_345)


def test_a_temporary_file_is_new_even_after_a_crash_and_with_the_usual_rights(tmp_path):
    target = tmp_path / "a.parquet"
    left = tmp_path / f".a.parquet.{os.getpid()}.tmp"
    left.write_text("left by a crash, and longer than what follows", "utf-8")
    left.chmod(0o666)
    with storage.temporary_file(target) as file:
        assert file == left
        assert file.read_bytes() == b""
        file.write_text("new", "utf-8")
    assert target.read_text("utf-8") == "new"
    assert target.stat().st_mode & 0o777 == 0o644 & ~storage.current_umask()


def test_a_temporary_file_that_appears_in_the_last_moment_is_not_used(tmp_path, monkeypatch):
    unlink = Path.unlink

    def planted(self, missing_ok=False):
        unlink(self, missing_ok=missing_ok)
        self.touch()

    monkeypatch.setattr(Path, "unlink", planted)
    with pytest.raises(StorageError), storage.temporary_file(tmp_path / "a"):
        pytest.fail("was opened")


def test_a_folder_in_the_making_is_ours_alone_and_then_as_open_as_any(tmp_path):
    with storage.staged_folder(tmp_path / "merged") as staging:
        assert staging.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "merged").stat().st_mode & 0o777 == 0o777 & ~storage.current_umask()


def test_a_link_planted_where_a_folder_is_made_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    for name in (".merged.tmp", "merged"):
        (tmp_path / name).symlink_to(victim)
    with storage.staged_folder(tmp_path / "merged") as staging:
        (staging / "a").touch()
    assert [entry.name for entry in victim.iterdir()] == ["precious"]
    assert not (tmp_path / "merged").is_symlink()


def test_a_link_anywhere_in_a_folder_of_ours_is_refused_and_named(tmp_path):
    run, victim = tmp_path / "run", tmp_path / "victim"
    (run / "logs").mkdir(parents=True)
    victim.mkdir()
    storage.refuse_links(run)
    (tmp_path / "kept elsewhere").symlink_to(run)
    storage.refuse_links(tmp_path / "kept elsewhere")
    for link, target in (("checkpoints", victim), ("logs/metrics.jsonl", "none")):
        (run / link).symlink_to(target)
        with pytest.raises(StorageError, match=f"{link}` is a symbolic link") as caught:
            storage.refuse_links(run)
        assert caught.value.fix
        (run / link).unlink()
