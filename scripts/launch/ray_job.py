"""One run on the nodes of a Ray cluster: a process on each of several workers, begun again if lost.

    ray job submit --working-dir . --runtime-env scripts/launch/ray_runtime.yaml -- \
        python scripts/launch/ray_job.py --workers 2 --gpus 1 recipe=… run.dir=/shared/runs

The workers share one run folder, so `run.dir` has to be on storage that all nodes see. When a node
is lost, or a worker fails for another reason than a mistake of the user's, all are started again
with the same command, which resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

FINAL = (0, 2, 3, 4, 10)
"""Exit codes that the same command would give again: done, or a mistake that has been explained."""


class Worker:
    """One process of the run, on whichever node Ray puts it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def address(self) -> tuple[str, int]:
        """Return this node's address and a free port on it."""
        with socket.socket() as listener:
            listener.bind(("", 0))
            return ray.util.get_node_ip_address(), listener.getsockname()[1]

    def start(self, arguments: list[str], environment: dict[str, str]) -> None:
        """Start the run."""
        python = os.environ.get("FINETUNE_PYTHON", sys.executable)
        self.process = subprocess.Popen(
            [python, "-m", "finetune", *arguments], env={**os.environ, **environment}
        )

    def poll(self) -> int | None:
        """Return the exit code, or None while the run goes on."""
        assert self.process is not None
        return self.process.poll()

    def stop(self, seconds: float) -> None:
        """Let the run save, and end it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()


def attempt(arguments: list[str], *, workers: int, cpus: float, gpus: float, number: int) -> int:
    """Run the command once on all workers; return the exit code of the first that fails."""
    group = placement_group([{"CPU": cpus, "GPU": gpus}] * workers, strategy="PACK")
    ray.get(group.ready())
    place = [
        PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=rank)
        for rank in range(workers)
    ]
    actor = ray.remote(num_cpus=cpus, num_gpus=gpus)(Worker)
    actors = [actor.options(scheduling_strategy=where).remote() for where in place]
    try:
        head, port = ray.get(actors[0].address.remote())
        common = {
            "WORLD_SIZE": str(workers), "MASTER_ADDR": head, "MASTER_PORT": str(port),
            "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",  # Ray shows each worker its own GPU alone
            "TORCHELASTIC_RESTART_COUNT": str(number),
        }  # fmt: skip
        ray.get(
            [
                one.start.remote(arguments, {**common, "RANK": str(n)})
                for n, one in enumerate(actors)
            ]
        )
        while True:
            codes = ray.get([one.poll.remote() for one in actors])
            failed = [code for code in codes if code]
            if failed or all(code == 0 for code in codes):
                return failed[0] if failed else 0
            time.sleep(0.5)
    except ray.exceptions.RayError as error:
        print(f"ray_job.py: a worker is lost: {type(error).__name__}", file=sys.stderr)
        return 9
    finally:
        for one in actors:
            with contextlib.suppress(ray.exceptions.RayError):  # it may be gone already
                ray.get(one.stop.remote(60), timeout=70)
        remove_placement_group(group)


def main() -> int:
    """Run the command, again after a loss, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes, one for each GPU")
    parser.add_argument("--cpus", type=float, default=1, help="processor cores of each")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each")
    parser.add_argument("--restarts", type=int, default=5, help="how often to begin again")
    options, arguments = parser.parse_known_args()
    ray.init()
    for number in range(options.restarts + 1):
        code = attempt(
            arguments, workers=options.workers, cpus=options.cpus, gpus=options.gpus, number=number
        )
        if code in FINAL:
            return code
        print(f"ray_job.py: exit code {code}, attempt {number + 1}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
