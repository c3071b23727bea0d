"""Memory that runs out: noticed on one rank, agreed on by all of them."""

from __future__ import annotations

from types import TracebackType

from finetune.training import ranks

SIGNS = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")


class OutOfMemory(Exception):  # noqa: N818 - not an error of anybody's: the step is cut smaller
    """Memory ran out on some rank, and every rank knows."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch failed for want of memory, on a device or on the host."""
    return any(sign in str(error) for sign in SIGNS)


class agreed:  # noqa: N801 - reads as what it does: `with agreed(world):`
    """Let all ranks fail where one of them runs out of memory in the block.

    The block must not hold anything that ranks do together: the others would wait for it.

    Args:
        world: Number of ranks.

    Raises:
        OutOfMemory: On every rank, when it happened on any.
    """

    def __init__(self, world: int) -> None:
        self.world = world

    def __enter__(self) -> None:
        """Nothing is needed before."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the other ranks; another failure of this rank passes."""
        del kind, trace  # its frames hold what has filled the memory
        if error is not None:
            # torch.OutOfMemoryError is a RuntimeError
            if not (isinstance(error, RuntimeError) and is_out_of_memory(error)):
                return
            error.__traceback__ = None
        if ranks.largest(int(error is not None), self.world, "cpu"):
            raise OutOfMemory from error
