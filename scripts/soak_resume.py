"""Kill training runs at random moments, finish them, and compare every bit with untouched runs.

    python scripts/soak_resume.py --runs 100 --seed 0 --json soak.json

Draws, from the seed: task, strategy, micro-batches, loader workers, one or two ranks, how often a
checkpoint is written, one to five moments to strike at, and what is sent: kill -9 to the process,
to everything it started or to one rank, or a request to stop (SIGTERM, SIGINT). Then the same
command is given until it succeeds. Equal configurations share one untouched run.

Called again with the same file, it goes on where it stopped. The folders of good runs are deleted,
those of differing ones kept beside the file. Exits 1 when a run differs or doesn't finish.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from finetune.config.schema import TrainConfig  # noqa: E402
from finetune.runs import storage  # noqa: E402
from tests.contracts.cases import RECIPES, STRATEGIES  # noqa: E402
from tests.faults import harness  # noqa: E402

STEPS = 10
KEYS = {field.name for field in fields(TrainConfig)}


@dataclass(frozen=True)
class Configuration:
    """What is run; cases that are equal in it share an untouched run."""

    tag: str
    strategy: str
    micro: int
    workers: int
    ranks: int
    save_steps: int

    @property
    def arguments(self) -> list[str]:
        """The command."""
        more = [
            f"strategy={self.strategy}",
            f"train.micro_batch_size={self.micro}",
            f"train.dataloader_num_workers={self.workers}",
        ]
        if "save_steps" in KEYS:
            more += ["train.save_strategy=steps", f"train.save_steps={self.save_steps}"]
        else:
            more += [f"train.eval_steps={self.save_steps}"]
        return harness.command(self.tag, *more, steps=STEPS)

    @property
    def name(self) -> str:
        """A name for folders and reports."""
        return "-".join(str(value) for value in asdict(self).values())


def configurations(seed: int, share: float) -> list[Configuration]:
    """Draw one configuration for each task and strategy, and a share of them with two ranks."""
    chance = random.Random(f"configurations {seed}")
    found = []
    for tag in RECIPES:
        for strategy in STRATEGIES:
            ranks = 2 if chance.random() < share else 1
            found.append(
                Configuration(
                    tag,
                    strategy,
                    micro=chance.choice([2, 4] if ranks == 2 else [2, 4, 8]),
                    workers=chance.choice([0, 0, 2]),
                    ranks=ranks,
                    save_steps=chance.choice([1, 2, 3]),
                )
            )
    chance.shuffle(found)
    return found


class Soak:
    """The cases of a seed and what came of them, kept in a JSON file.

    Args:
        file: Where results are kept; run folders stand beside it.
        seed: Decides everything that is drawn.
        real: Share of single-rank attempts that are a fresh `python -m finetune`.
        two: Share of configurations with two ranks.
    """

    def __init__(self, file: Path, seed: int, real: float, two: float) -> None:
        self.file, self.seed, self.real = file, seed, real
        self.folder = file.with_suffix("")
        self.pool = configurations(seed, two)
        before = storage.read_json(file) if file.is_file() else {}
        if before and before["seed"] != seed:
            raise SystemExit(f"{file} is of seed {before['seed']}: name another file.")
        self.cases: dict[str, Any] = before.get("cases", {})
        self.references: dict[str, Any] = before.get("references", {})
        self.lock = threading.Lock()
        self.locks = {one.name: threading.Lock() for one in self.pool}

    def save(self) -> None:
        """Write what is known."""
        storage.write_json(
            self.file,
            {"seed": self.seed, **summary(self.cases), "cases": self.cases,
             "references": self.references},
        )  # fmt: skip

    def reference(self, of: Configuration) -> dict[str, Any]:
        """Return the fingerprint and the seconds of an untouched run."""
        with self.locks[of.name]:
            if of.name not in self.references:
                folder = self.folder / f"whole-{of.name}"
                shutil.rmtree(folder, ignore_errors=True)
                began = time.monotonic()
                harness.finish(lambda: self.start(of, folder, real=of.ranks > 1))
                found = {
                    "seconds": round(time.monotonic() - began, 1),
                    "fingerprint": harness.fingerprint(folder),
                }
                shutil.rmtree(folder)
                with self.lock:
                    self.references[of.name] = found
        return dict(self.references[of.name])

    def start(self, of: Configuration, folder: Path, *, real: bool) -> harness.Job:
        """Start an attempt: with two ranks always a fresh process."""
        if real or of.ranks > 1:
            return harness.start(folder, of.arguments, ranks=of.ranks)
        return harness.fork(folder, of.arguments)

    def case(self, number: int) -> None:
        """Strike one run, finish it, compare it."""
        chance = random.Random(f"{self.seed} {number}")
        of = self.pool[number % len(self.pool)]
        folder = self.folder / f"case-{number:04}"
        shutil.rmtree(folder, ignore_errors=True)
        began = time.monotonic()
        result: dict[str, Any] = {"configuration": asdict(of), "strikes": []}
        try:
            whole = self.reference(of)
            began = time.monotonic()
            for _ in range(chance.randint(1, 5)):
                if harness.run_in(folder).is_finished():
                    break
                result["strikes"].append(self.strike(of, folder, chance, whole["seconds"]))
            last_real = chance.random() < self.real
            ended = harness.finish(lambda: self.start(of, folder, real=last_real))
            result |= {"attempts": len(result["strikes"]) + ended.attempts, "locked": ended.locked}
            result["differences"] = harness.differences(
                whole["fingerprint"], harness.fingerprint(folder)
            )
        except (AssertionError, OSError, ValueError) as error:
            result["differences"] = [f"did not finish: {error}"[:2000]]
        result["seconds"] = round(time.monotonic() - began, 1)
        if not result["differences"]:
            shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.cases[str(number)] = result
            self.save()
            report(number, result)

    def strike(
        self, of: Configuration, folder: Path, chance: random.Random, seconds: float
    ) -> dict[str, Any]:
        """Start an attempt and send it something at a moment; say what came of it."""
        real = chance.random() < self.real
        moment = harness.draw(chance, steps=STEPS, seconds=seconds)
        number = chance.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 2, 1])[0]
        if number == signal.SIGKILL:
            whom = chance.choice(
                ["process", "everyone"] if of.ranks == 1 else ["everyone", "0", "1"]
            )
        else:
            whom = "process"
        job = self.start(of, folder, real=real)
        try:
            sent = moment.reached(job) and job.poll() is None
            if sent and whom in ("0", "1"):
                for pid in job.ranks(whom):
                    os.kill(pid, number)
            elif sent:
                job.send(number, everyone=whom == "everyone")
            code = job.wait()
            in_save = number == signal.SIGKILL and sent and job.is_saving()
        finally:
            job.end()
        if not (sent and code != 0):
            allowed: tuple[int, ...] = (0,)
        elif of.ranks > 1:
            allowed = ()  # what a launcher makes of it is for the tests of two ranks
        elif number == signal.SIGKILL:
            allowed = (-number,)
        else:
            allowed = (128 + number, -number)
        fine = not allowed or code in allowed or job.met_a_lock(code) or job.came_too_late(code)
        assert fine, f"exit {code} after {number}:\n{job.said()}"
        return {
            "moment": moment.kind, "step": moment.step, "delay": round(moment.delay, 4),
            "signal": signal.Signals(number).name, "whom": whom, "real": real or of.ranks > 1,
            "struck": bool(sent and code != 0 and not job.met_a_lock(code)), "in_save": in_save,
            "code": code,
        }  # fmt: skip


def summary(cases: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of all cases so far."""
    strikes = [strike for case in cases.values() for strike in case["strikes"]]
    struck = [strike for strike in strikes if strike["struck"]]
    return {
        "runs": len(cases),
        "differing": sorted(int(name) for name, case in cases.items() if case["differences"]),
        "attempts": sum(case.get("attempts", 0) for case in cases.values()),
        "kills": sum(strike["signal"] == "SIGKILL" for strike in struck),
        "kills_during_a_save": sum(strike["in_save"] for strike in struck),
        "stops": sum(strike["signal"] != "SIGKILL" for strike in struck),
        "of_fresh_processes": sum(strike["real"] for strike in struck),
        "two_ranks": sum(case["configuration"]["ranks"] > 1 for case in cases.values()),
        "met_a_lock": sum(case.get("locked", 0) for case in cases.values()),
        "seconds": round(sum(case["seconds"] for case in cases.values()), 1),
    }


def report(number: int, result: dict[str, Any]) -> None:
    """Print a line for a case."""
    struck = [strike for strike in result["strikes"] if strike["struck"]]
    verdict = "equal" if not result["differences"] else "DIFFERS"
    print(
        f"{number:5}  {verdict}  {len(struck)} of {len(result['strikes'])} strikes,"
        f" {sum(strike['in_save'] for strike in struck)} in a save, {result['seconds']:.0f} s  "
        f"{' '.join(str(value) for value in result['configuration'].values())}",
        *result["differences"][:5],
        sep="\n       " if result["differences"] else "",
        flush=True,
    )


def main() -> int:
    """Run what is not done yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--real", type=float, default=0.2, help="share of fresh processes")
    parser.add_argument("--two-ranks", type=float, default=0.15, help="share of configurations")
    parser.add_argument("--minutes", type=float, help="begin no run after so long")
    given = parser.parse_args()
    soak = Soak(given.json.resolve(), given.seed, given.real, given.two_ranks)
    soak.folder.mkdir(parents=True, exist_ok=True)
    os.environ["FINETUNE_CACHE"] = str(soak.folder / "cache")
    harness.warm()
    until = time.monotonic() + given.minutes * 60 if given.minutes else None

    def one(number: int) -> None:
        if until is None or time.monotonic() < until:
            soak.case(number)

    with ThreadPoolExecutor(given.jobs) as threads:
        list(threads.map(one, (n for n in range(given.runs) if str(n) not in soak.cases)))
    found = summary(soak.cases)
    print(json.dumps(found, indent=2))
    shutil.rmtree(soak.folder / "cache", ignore_errors=True)
    return 1 if found["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
