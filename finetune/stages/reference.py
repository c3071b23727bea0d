"""What the untouched base model says of each row, asked once, before anything is trained.

The numbers lie in the run folder under a name that follows from the base model, the encoded rows
and how the model is loaded: a resumed run reads them, a run in which any of these is another asks
anew. They travel with the rows, so that no step takes the base model through its layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig
from finetune.data.problems import rows as counted
from finetune.errors import ConfigError
from finetune.models.source import BaseModel
from finetune.runs import identity, storage
from finetune.runs.folder import RunFolder
from finetune.stages import augmentation, base_model, devices, rows, splits
from finetune.stages.devices import Device
from finetune.tasks.base import Features, Row, Task, to_device
from finetune.tasks.referred import REFERENCE, ReferredTask

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from finetune.training.rows import Rows
    from finetune.training.trainer import TaskTrainer

BATCH = 16
"""Rows asked about at once: always the same ones, so that every number of ranks hears the same."""
NAME = "said"
"""Of the only tensor in a file."""


@dataclass(frozen=True)
class Reference:
    """What the base model says of the rows of a run.

    Args:
        said: By split, a line of numbers for each row.
        files: By split, where they lie.
        seconds: Spent asking; 0 where all was known.
    """

    said: dict[str, list[list[float]]]
    files: dict[str, str]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {"rows": {name: len(part) for name, part in self.said.items()}, "files": self.files}


def ask(run: RunFolder, config: RunConfig, model: nn.Module, device: Device) -> Reference | None:
    """Return what the untouched model says of the rows of training; None where nobody asks.

    All ranks are here, and the model is neither wrapped nor cut nor given an adapter.

    Raises:
        ConfigError: The loss needs a reference that there would not be.
    """
    task = config.task
    if not isinstance(task, ReferredTask) or not task.needs_reference:
        return None
    refuse(config, task)
    if not task.precompute_reference:
        return None
    started = time.perf_counter()
    said, files, asked = {}, {}, 0
    for split, most in (("train", None), ("validation", config.train.eval_max_rows)):
        part = rows.of(run, task, split, max_rows=most)
        if not len(part):
            continue
        file = file_of(run, config, split, len(part), device)
        files[split] = file.name
        known = read(file, len(part))
        if not everybody(known is not None):
            known = heard(config, task, model, part, device)
            asked += len(part)
            if devices.world()[0] == 0:
                write(file, known)
        assert known is not None
        said[split] = known
    seconds = time.perf_counter() - started if asked else 0.0
    if devices.world()[0] == 0:
        sys.stderr.write(told(asked, sum(map(len, said.values())), seconds))
    return Reference(said, files, seconds)


def told(asked: int, known: int, seconds: float) -> str:
    """Return the line for the terminal."""
    spared = "no step asks it again (task.precompute_reference)"
    if asked:
        return f"   base model asked about {counted(asked)} once in {seconds:.1f} s; {spared}\n"
    return f"   what the base model says of {counted(known)} was known from before; {spared}\n"


def refuse(config: RunConfig, task: ReferredTask) -> None:
    """Refuse settings with which there would be no reference, or a wrong one.

    Raises:
        ConfigError: With what to change.
    """
    if not task.precompute_reference and config.strategy.peft_type is None:
        raise ConfigError(
            "`task.precompute_reference=false` asks the base model at every step, but with "
            f"strategy={config.strategy.name} it is no longer there: its weights are trained.",
            fix="Use task.precompute_reference=true, or a strategy with an adapter.",
        )
    if augmentation.augmenter(config) is not None:
        raise ConfigError(
            "`data.augment` changes rows each time that they are met, but the base model is asked "
            "about each row once.",
            fix="Leave data.augment out.",
        )


def file_of(run: RunFolder, config: RunConfig, split: str, number: int, device: Device) -> Path:
    """Return where the numbers of a split lie, by what they follow from."""
    facts = {
        "base": identity.identity(run)["base_sha256"],
        "rows": storage.sha256(splits.encoded_file(run, split)),
        "number": number,
        "precision": [device.precision, device.frozen_weights],
        "quantization": repr(getattr(config.strategy, "quantization", None)),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return run.path / REFERENCE / f"{split}-{key[:16]}.safetensors"


def read(file: Path, number: int) -> list[list[float]] | None:
    """Return a file's numbers; None where it is not there or not sound."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file)[NAME]
    except (OSError, KeyError, SafetensorError):
        return None
    lines: list[list[float]] = found.tolist()
    return lines if len(lines) == number else None


def write(file: Path, said: Sequence[Sequence[float]]) -> None:
    """Write the numbers of a split in the place of those of the same split."""
    import torch
    from safetensors.torch import save

    split = file.name.partition("-")[0]
    for old in file.parent.glob(f"{split}-*.safetensors"):
        old.unlink()
    storage.write_bytes(file, save({NAME: torch.tensor(said, dtype=torch.float64)}))


def everybody(known: bool) -> bool:
    """Tell whether all ranks know; a rank that cannot be asked yet decides for itself."""
    from finetune.training import ranks

    return all(ranks.gathered(known, shared_by()))


def shared_by() -> int:
    """Return how many ranks share the work: with an accelerator they cannot talk at this time."""
    from torch import distributed

    met = distributed.is_available() and distributed.is_initialized()
    return devices.world()[1] if met else 1


def heard(
    config: RunConfig, task: ReferredTask, model: nn.Module, part: Rows, device: Device
) -> list[list[float]]:
    """Return what the model says of each row, in their order; ranks share the batches."""
    from finetune.stages.train import quiet_transformers
    from finetune.training import ranks, sharing

    precision = computing(device)
    spared: AbstractContextManager[None] = contextlib.nullcontext()
    order = sorted(range(len(part)), key=lambda row: (-part.lengths[row], row))
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    world = shared_by()
    rank = devices.world()[0] if world > 1 else 0
    was_training = model.training
    model.eval()
    found: dict[int, list[float]] = {}
    with quiet_transformers():
        if config.train.padding_free:
            spared = sharing.spared(task, model, part, precision)
        with spared:
            for batch in batches[rank::world]:
                found |= zip_said(batch, answers(task, model, part, batch, precision))
    model.train(was_training)
    for other in ranks.gathered(found, world):
        found |= other
    return [found[row] for row in range(len(part))]


def zip_said(numbers: Sequence[int], said: Tensor) -> dict[int, list[float]]:
    """Return by row number what is said of it."""
    return dict(zip(numbers, said.double().tolist(), strict=True))


def answers(
    task: ReferredTask,
    model: nn.Module,
    part: Rows,
    numbers: Sequence[int],
    precision: Callable[[], AbstractContextManager[Any]],
) -> Tensor:
    """Return what the model says of some rows, shape (rows, numbers); half at a time if need be."""
    import torch

    from finetune.training.memory import is_out_of_memory

    try:
        batch = to_device(task.collate(part.fetch(numbers)), model)
        with torch.inference_mode(), precision():
            return task.say(model, batch).cpu()
    except RuntimeError as error:
        if not is_out_of_memory(error) or len(numbers) == 1:
            raise
    half = len(numbers) // 2
    return torch.cat(
        [answers(task, model, part, some, precision) for some in (numbers[:half], numbers[half:])]
    )


def computing(device: Device) -> Callable[[], AbstractContextManager[Any]]:
    """Return what opens the context that training computes in."""
    import torch

    if device.precision == "fp32":
        return contextlib.nullcontext
    kind = torch.bfloat16 if device.precision == "bf16" else torch.float16
    return lambda: torch.autocast(device.name.partition(":")[0], dtype=kind)


class Carrying:
    """Row numbers → features that carry what the base model says.

    Args:
        fetch: Row numbers → features.
        said: A line of numbers for each row.
    """

    def __init__(self, fetch: Any, said: Sequence[Sequence[float]]) -> None:
        self.fetch, self.said = fetch, said

    def __call__(
        self, numbers: Sequence[int], visits: Sequence[tuple[int, int]] = ()
    ) -> list[Features]:
        """Return the features of rows, in their order."""
        found = self.fetch(numbers, visits)
        return [
            {**item, REFERENCE: self.said[row]} for row, item in zip(numbers, found, strict=True)
        ]


def carry(trainer: TaskTrainer, reference: Reference | None) -> None:
    """Let the rows of a trainer carry what the base model says of them."""
    if reference is None:
        return
    said = reference.said
    train = trainer.train_rows
    trainer.train_rows = replace(train, fetch=Carrying(train.fetch, said["train"]))
    if (part := trainer.validation_rows) is not None:
        raw = part.raw.add_column(REFERENCE, said["validation"])
        fetch = Carrying(part.fetch, said["validation"])
        trainer.validation_rows = replace(part, raw=raw, fetch=fetch)


def beside(
    task: Task, config: RunConfig, base: BaseModel, test: list[Row], device: str
) -> list[Row]:
    """Return test rows that carry what the base model says, where the task looks at that."""
    if not isinstance(task, ReferredTask) or not task.needs_reference:
        return test
    task.load_processor(base.folder)
    model = task.load_model(base.folder, base_model.options(config, device=device)).model
    said = task.say_of(model, test, batch_size=config.evaluate.batch_size)
    return [{**row, REFERENCE: line} for row, line in zip(test, said, strict=True)]
