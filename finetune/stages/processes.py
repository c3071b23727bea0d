"""Several processes: one prepares the data before any group exists, the others wait for it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import DistributedError
from finetune.runs import partners
from finetune.runs import roll as rolls
from finetune.runs.folder import RunFolder
from finetune.runs.roll import Roll
from finetune.stages import devices

POLL_SECONDS = 0.2
BEAT_SECONDS = 10.0
"""How often the main process says that it is still preparing."""
PR_SET_PDEATHSIG = 1

_leading: list[tuple[Roll, threading.Event]] = []
"""The roll that this process leads, and what ends its heartbeat."""


def marker(run: RunFolder) -> Path:
    """Return the file by which the main process tells the others that the data is ready."""
    return run.path / ".ready"


def heartbeat(run: RunFolder) -> Path:
    """Return the file by which the main process tells the others that it is still preparing."""
    return run.path / rolls.FOLDER / "preparing"


def launch_id() -> str:
    """Return what is common to the processes of one launch and to no other."""
    names = (
        "MASTER_ADDR",
        "MASTER_PORT",
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_RESTART_COUNT",
        "SLURM_RESTART_COUNT",  # a job that is queued again has the same ports as before
        "WORLD_SIZE",
    )
    return "|".join(os.environ.get(name, "") for name in names)


def forget_marker(run: RunFolder) -> None:
    """Begin a launch: remove what an earlier one left, and let the others see that this one lives.

    The run folder must be locked: another launch's files may stand in it otherwise.
    """
    rank, world = devices.world()
    marker(run).unlink(missing_ok=True)
    roll = Roll(run.path, rank, world)
    roll.clear()
    if world == 1:
        return
    end_with_the_launcher()
    roll.enter()
    over = threading.Event()
    beat(run, 0)
    threading.Thread(target=keep_beating, args=(run, over), daemon=True).start()
    stop_leading()
    _leading.append((roll, over))
    atexit.register(stop_leading)


def beat(run: RunFolder, number: int) -> None:
    """Say that the main process lives."""
    from finetune.runs import storage

    storage.write_text(heartbeat(run), f"{launch_id()}|{number}")


def keep_beating(run: RunFolder, over: threading.Event) -> None:
    """Say so until the data is ready; what goes wrong here goes wrong in the main thread too."""
    number = 0
    while not over.wait(BEAT_SECONDS):
        number += 1
        with contextlib.suppress(Exception):
            beat(run, number)


def write_marker(run: RunFolder) -> None:
    """Tell the other processes to go on."""
    from finetune.runs import storage

    for _, over in _leading:
        over.set()
    storage.write_text(marker(run), launch_id())


def stop_leading() -> None:
    """Take the main process off the roll."""
    while _leading:
        roll, over = _leading.pop()
        over.set()
        with contextlib.suppress(OSError):
            heartbeat(RunFolder(roll.folder.parent)).unlink(missing_ok=True)
        roll.leave()


def follow(run: RunFolder, config: RunConfig) -> None:
    """Wait until the main process has prepared the data, then train with it.

    Raises:
        DistributedError: The main process died, or gives no sign of life.
        EchoError: The main process failed, and says so itself.
    """
    from finetune.stages import base_model

    end_with_the_launcher()
    wait_for_data(run, config.train.dist_timeout if config else 600.0)
    if run.is_done("train"):
        return
    from finetune.stages.train import train

    rank, world = devices.world()
    with partners.explained(run, rank, world, timeout=config.train.dist_timeout):
        train(run, config, base_model.resolve(config))
        leave_group()


def wait_for_data(run: RunFolder, timeout: float) -> None:
    """Wait for the main process's marker.

    Raises:
        DistributedError: The main process died, or gave no sign of life for so many seconds.
        EchoError: It failed.
    """
    parent, begun, (rank, world) = os.getppid(), parent_start(), devices.world()
    roll = Roll(run.path, rank, world)
    last, heard = "", time.monotonic()
    while not is_of_this_launch(marker(run), begun):
        if os.getppid() != parent:  # in a container the launcher itself may be process 1
            raise DistributedError("The main process has gone away before the data was ready.")
        sign = read(heartbeat(run))
        if sign != last and is_of_this_launch(heartbeat(run), begun):
            last, heard = sign, time.monotonic()
        leader = roll.entries().get(0, {})
        if last:
            refuse_failed(run, roll, leader)
        if time.monotonic() - heard > max(timeout, 2 * BEAT_SECONDS):
            raise DistributedError(
                f"Rank 0 gave no sign of life for {time.monotonic() - heard:.0f} s "
                "while the other ranks waited for the data.",
                fix="See what it says where it runs; all ranks must see the same run folder, "
                "which run.dir=FOLDER names.",
            )
        time.sleep(POLL_SECONDS)


def refuse_failed(run: RunFolder, roll: Roll, leader: dict[str, Any]) -> None:
    """End this rank when the main process of this launch failed or died."""
    from finetune.runs import storage

    if run.error.is_file():  # the main process removed an older one before it began
        with contextlib.suppress(OSError, ValueError):
            raise rolls.restored(storage.read_json(run.error), rolls.EchoError)
    if leader and rolls.is_gone(leader) and not run.error.is_file():
        error = DistributedError(
            "Rank 0 died before the data was ready.",
            fix="The same command starts it anew; a process that dies without a word has often "
            "used up the machine's memory.",
        )
        roll.tell(error)
        raise error


def read(file: Path) -> str:
    """Return a small file's text, empty while it is not there."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""


def is_of_this_launch(file: Path, begun: float) -> bool:
    """Tell whether the main process of this launch has written a file.

    An earlier launch may have had the same name; its file is older than this launcher, as far as
    clocks can be trusted between nodes. Where the name is unique they need not be.
    """
    text = read(file)
    if not (text == launch_id() or text.startswith(f"{launch_id()}|")):
        return False
    if os.environ.get("TORCHELASTIC_RUN_ID", "none") not in ("", "none"):
        return file.exists()
    with contextlib.suppress(OSError):
        return file.stat().st_mtime >= begun
    return False


def parent_start() -> float:
    """Return when the launcher of this process started, in seconds since the epoch."""
    stat = Path(f"/proc/{os.getppid()}/stat")
    uptime = Path("/proc/uptime")
    if not (stat.is_file() and uptime.is_file()):
        return 0.0
    ticks = int(stat.read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - float(uptime.read_text().split()[0]) + ticks - 1.0


def end_with_the_launcher() -> None:
    """Have Linux stop this rank, as by SIGTERM, when its launcher is killed: nobody else would."""
    rolls.sign_in()
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def settle_checkpoints(run: RunFolder, config: RunConfig) -> None:
    """Set damaged checkpoints aside before the other processes look for one to go on from."""
    from finetune.stages.train import resumable

    if not run.is_done("train"):
        resumable(run, config)


def end_group() -> None:
    """Leave the process group; what follows is done by the main process alone."""
    rank, world = devices.world()
    folder = _leading[0][0].folder.parent if _leading else None
    if folder is None:
        leave_group()
        return
    with partners.explained(folder, rank, world):
        leave_group()
    stop_leading()


def leave_group() -> None:
    """Wait for the others, then leave the process group, where there is one."""
    torch = sys.modules.get("torch")
    if (
        torch is not None
        and torch.distributed.is_available()
        and torch.distributed.is_initialized()
    ):
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
