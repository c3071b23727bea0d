"""Whether the launch asks for shards, and that Accelerate heeds it: on a CPU it would not.

With `cpu=True` Accelerate 1.15 takes ACCELERATE_USE_FSDP and ACCELERATE_USE_DEEPSPEED for unset and
trains plain copies without a word; without it, and without a device, it starts no group at all.
"""

from __future__ import annotations

import importlib.util
import os

from finetune.errors import ConfigError

ASKED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


def is_asked_for() -> bool:
    """Tell whether `accelerate launch` was given a configuration that shards the model."""
    return any(is_set(name) for name in ASKED)


def is_set(name: str) -> bool:
    """Tell whether a switch of the environment is on."""
    return os.environ.get(name, "false").lower() in ("true", "1")


def refuse_without_deepspeed() -> None:
    """Say how to install DeepSpeed, which isn't among the dependencies.

    Raises:
        ConfigError: It isn't installed.
    """
    if importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            "The launch asks for DeepSpeed, which is not installed.",
            fix='Install it with `DS_BUILD_OPS=0 pip install "finetune[deepspeed]"`, '
            "or launch with conf/accelerate/fsdp2.yaml.",
        )


def heed_on_cpu() -> None:
    """Let Accelerate form its group over gloo and shard as it does on devices.

    Call it before anything of Accelerate is made, on the CPU and when shards are asked for.
    """
    from accelerate import state
    from accelerate.utils import DistributedType

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("DS_BUILD_OPS", "0")
    os.environ["ACCELERATE_USE_CPU"] = "false"

    def over_gloo(*_: object, **__: object) -> tuple[str, DistributedType]:
        return "gloo", DistributedType.MULTI_GPU

    state.PartialState._prepare_backend = over_gloo
    if is_set("ACCELERATE_USE_DEEPSPEED"):
        without_shared_memory()


def without_shared_memory() -> None:
    """Let DeepSpeed's ranks on a CPU exchange by gloo too.

    Of itself it compiles an exchange over shared memory, which waits for a dead rank for ever.
    """
    from deepspeed import ops

    ops.__compatible_ops__["deepspeed_shm_comm"] = False
