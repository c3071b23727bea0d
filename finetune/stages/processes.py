"""Several processes: one prepares the data before any group exists, the others wait for it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from finetune.config.schema import RunConfig
from finetune.errors import DistributedError
from finetune.runs.folder import RunFolder

POLL_SECONDS = 0.2


def marker(run: RunFolder) -> Path:
    """Return the file by which the main process tells the others that the data is ready."""
    return run.path / ".ready"


def launch_id() -> str:
    """Return what is common to the processes of one launch and to no other."""
    names = (
        "MASTER_ADDR",
        "MASTER_PORT",
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_RESTART_COUNT",
        "WORLD_SIZE",
    )
    return "|".join(os.environ.get(name, "") for name in names)


def forget_marker(run: RunFolder) -> None:
    """Remove a marker of an earlier launch."""
    marker(run).unlink(missing_ok=True)


def write_marker(run: RunFolder) -> None:
    """Tell the other processes to go on."""
    from finetune.runs import storage

    storage.write_text(marker(run), launch_id())


def follow(run: RunFolder, config: RunConfig) -> None:
    """Wait until the main process has prepared the data, then train with it."""
    from finetune.stages import base_model

    begun = parent_start()
    while True:
        file = marker(run)
        if (
            file.is_file()
            and file.stat().st_mtime >= begun
            and file.read_text(encoding="utf-8") == launch_id()
        ):
            break
        if os.getppid() == 1:
            raise DistributedError("The main process has gone away before the data was ready.")
        time.sleep(POLL_SECONDS)
    if run.is_done("train"):
        return
    from finetune.stages.train import train

    train(run, config, base_model.resolve(config))
    end_group()


def parent_start() -> float:
    """Return when the launcher of this process started, in seconds since the epoch."""
    stat = Path(f"/proc/{os.getppid()}/stat")
    uptime = Path("/proc/uptime")
    if not (stat.is_file() and uptime.is_file()):
        return 0.0
    ticks = int(stat.read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - float(uptime.read_text().split()[0]) + ticks - 1.0


def settle_checkpoints(run: RunFolder, config: RunConfig) -> None:
    """Set damaged checkpoints aside before the other processes look for one to go on from."""
    from finetune.stages.train import resumable

    if not run.is_done("train"):
        resumable(run, config)


def end_group() -> None:
    """Leave the process group; what follows is done by the main process alone."""
    torch = sys.modules.get("torch")
    if (
        torch is not None
        and torch.distributed.is_available()
        and torch.distributed.is_initialized()
    ):
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
