"""Threads fit what a process is granted; bf16 is known to be slow where it is."""

import pytest

from finetune.stages import processors


@pytest.fixture
def machine(monkeypatch):
    def of(cores, granted=None, ranks=None):
        monkeypatch.setattr(processors, "allowed", lambda: cores)
        monkeypatch.setattr(processors, "quota", lambda: granted)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if ranks is not None:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        return processors.threads()

    return of


@pytest.mark.parametrize(
    ("cores", "granted", "ranks", "expected"),
    [
        (8, None, None, None),  # torch knows best
        (8, 8.0, "1", None),
        (64, 2.0, None, 2),
        (64, 1.5, None, 2),
        (64, 0.5, None, 1),
        (8, None, "2", 4),
        (8, 4.0, "2", 2),
        (2, None, "8", 1),
        (2, None, "many", None),
    ],
)
def test_threads_are_the_cores_granted_shared_by_the_ranks(
    machine, cores, granted, ranks, expected
):
    assert machine(cores, granted, ranks) == expected


def test_what_the_user_has_set_stays(machine, monkeypatch):
    machine(64, 2.0)
    processors.settle()
    assert processors.os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    processors.settle()
    assert processors.os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "odd\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_quota_is_read_as_both_versions_of_cgroups_write_it(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processors.quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name : Xeon\nflags\t\t: fpu avx512f avx512_vnni\n", False),
        ("model name : Xeon\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("processor : 0\n", True),
    ],
)
def test_bf16_is_native_where_the_processor_says_so(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert processors.computes_bf16(tmp_path / "cpuinfo") is expected


def test_a_system_that_says_nothing_is_believed(tmp_path):
    assert processors.computes_bf16(tmp_path / "none")
