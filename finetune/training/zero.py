"""DeepSpeed's ZeRO: ranks share gradients and moments (stage 2), and weights too (stage 3).

Its engine steps by itself and keeps flat pieces of its own making. Here it trains what one process
would, and whole tensors come out of it and go back into it, in the form of torch's AdamW.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from finetune.training import zero_limits
from finetune.training.exchange import Exchange

if TYPE_CHECKING:
    from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero:
    """Each rank holds a part of the flattened moments, and of the weights at stage 3.

    Args:
        trainer: Whose layout it is.
    """

    is_whole = False

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.pending = False
        """Whether a gradient waits for its step."""
        self.groups: list[dict[str, Any]] = []
        """The optimiser's groups as one process has them."""
        self.used: list[int] = []
        """Weights that got a gradient since the last step, in this order."""
        self.plugin = trainer.accelerator.state.deepspeed_plugin
        zero_limits.refuse_settings(self.plugin.deepspeed_config)
        zero_limits.refuse_model(trainer.model, trainer.task)
        zero_limits.refuse_training(
            trainer.args.optim.value,
            precision=trainer.precision,
            left_out=trainer.stepper.watch.max_nonfinite_steps,
        )
        trainer.add_callback(Stepping(self))

    @property
    def engine(self) -> Any:
        """DeepSpeed's wrapper around the model."""
        return self.trainer.model_wrapped

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """Set what the engine must know before it is made."""
        args = self.trainer.args
        self.plugin.deepspeed_config.update(
            train_micro_batch_size_per_gpu=1,
            train_batch_size=args.world_size,
            gradient_accumulation_steps=1,
            gradient_clipping=args.max_grad_norm,
            fp16={"enabled": False},
            bf16={"enabled": False},  # it would round weights; a resumed run begins with them
            torch_autocast={
                "enabled": self.trainer.precision == "bf16",
                "dtype": "bfloat16",
                "lower_precision_safe_modules": [],  # gradients are added up in full
            },
        )
        yield

    def precision(self) -> AbstractContextManager[Any] | None:
        """Return the context of mixed precision: for DeepSpeed Accelerate leaves it out."""
        device, bf16 = self.trainer.args.device, self.trainer.precision == "bf16"
        context: AbstractContextManager[Any] = torch.autocast(
            device.type, torch.bfloat16, enabled=bf16
        )
        return context

    def note(self, optimizer: Any) -> None:
        """Remember the optimiser's groups: DeepSpeed drops empty ones, and has flat weights."""
        self.groups = [
            {**group, "params": list(group["params"])} for group in optimizer.param_groups
        ]
        for number, weight in enumerate(w for group in self.groups for w in group["params"]):
            weight.register_post_accumulate_grad_hook(lambda _, n=number: self.used.append(n))

    def _grouped(self, base: Any) -> Iterator[tuple[dict[str, Any], list[Tensor]]]:
        """Yield each group as it is now, with the weights that it stands for."""
        live = iter(base.param_groups)
        rates = {key: base.param_groups[0].get(key) for key in ("lr", "initial_lr")}
        for group in self.groups:
            empty = {**group, **rates}  # the schedule, made later, never saw it
            yield next(live) if group["params"] else empty, group["params"]

    def exchange(self, model: nn.Module) -> Exchange:
        """Return how ranks come to one gradient."""
        del model
        return Partitions(self)

    def has_gradient(self, model: nn.Module) -> bool:
        """Tell whether there is a gradient to step with: the weights' own `grad` says nothing."""
        del model
        return self.pending

    def norm(self, known: Any) -> float:
        """Return the gradient's norm over all ranks; Accelerate knows that of the step before."""
        del known
        inner = self.engine.optimizer
        if hasattr(inner, "scaled_global_norm"):
            value = float(inner.scaled_global_norm())
        else:
            from deepspeed.runtime.zero.stage3 import combine_grad_norm_groups

            value = float(combine_grad_norm_groups(inner._get_norm_groups()))
        return value if value >= 0 else math.inf  # -1 stands for one that is not finite

    def step(self) -> None:
        """Let the engine clip, step, and forget the gradient."""
        if self.pending:
            self.engine.step()
        self.pending = False

    # -- whole tensors -------------------------------------------------------------------------

    def weights(self, model: nn.Module, *, keep: bool) -> dict[str, Tensor] | None:
        """Return the trained weights and the buffers, put together; all ranks call this."""
        from deepspeed.utils import safe_get_full_fp32_param

        weights = set(dict(model.named_parameters(remove_duplicate=False)))
        whole = {}
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                full = safe_get_full_fp32_param(weight)
                whole[name] = full.detach().to("cpu", copy=True)
        buffers = {name: value for name, value in model.state_dict().items() if name not in weights}
        whole.update((name, value.detach().cpu()) for name, value in buffers.items())
        return whole if keep else {}

    def moments(self, optimizer: Any, *, keep: bool) -> dict[str, Any]:
        """Return the state of AdamW as one process writes it; all ranks call this."""
        from deepspeed.utils import safe_get_full_optimizer_state

        del optimizer
        flats, base = self._linked()
        state: dict[int, dict[str, Any]] = {}
        groups: list[dict[str, Any]] = []
        for group, weights in self._grouped(base):
            numbers = []
            for weight in weights:
                number = len(state)
                numbers.append(number)
                state[number] = {"step": base.state[flats[0]]["step"].detach().to("cpu", copy=True)}
                for key in MOMENTS:
                    full = safe_get_full_optimizer_state(weight, key)
                    state[number][key] = full.detach().to("cpu", copy=True)
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
        return {"state": state, "param_groups": groups} if keep else {}

    def take_up(self, state: Mapping[str, Any], optimizer: Any) -> None:
        """Give the engine's partitions their part of a whole state."""
        del optimizer
        flats, base = self._linked()
        steps = [values["step"] for values in state["state"].values()]
        for flat in flats:
            base.state[flat]["step"].copy_(max(steps))
        for kept, (group, weights) in zip(state["param_groups"], self._grouped(base), strict=True):
            group.update({key: value for key, value in kept.items() if key != "params"})
            for number, weight in zip(kept["params"], weights, strict=True):
                for key in MOMENTS:
                    put(weight, state["state"][number][key], key, self.trainer.args)

    def _linked(self) -> tuple[list[Tensor], Any]:
        """Return the engine's flat partitions and its AdamW, which has a state for each of them.

        DeepSpeed makes that state with the first step, and links weights to it once.
        """
        inner = self.engine.optimizer
        base = inner.optimizer
        names = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups")
        flats = next(list(getattr(inner, name)) for name in names if hasattr(inner, name))
        for flat in flats:
            if not base.state.get(flat):
                base.state[flat] = {
                    "step": torch.zeros((), dtype=torch.float32, device=flat.device),
                    **{key: torch.zeros_like(flat) for key in MOMENTS},
                }
        if hasattr(inner, "_lazy_init_hp_params_optimizer_state"):
            inner._hp_optimizer_states_linked = False
            inner._lazy_init_hp_params_optimizer_state()
        return flats, base

    def leave(self) -> None:
        """Let later stages load models whole: transformers would cut them as this one was."""
        from transformers.integrations.deepspeed import unset_hf_deepspeed_config

        unset_hf_deepspeed_config()


def put(weight: Any, value: Tensor, key: str, args: Any) -> None:
    """Give this rank its part of a moment.

    Args:
        weight: Whose moment it is.
        value: The whole moment.
        key: Which one.
        args: Know the ranks.
    """
    from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

    if not hasattr(weight, "ds_tensor"):
        safe_set_full_optimizer_state(weight, value.to(weight.device), key)
        return
    size = weight.ds_tensor.numel()  # all ranks' parts are as long, whatever the weight
    padded = torch.zeros(size * args.world_size, dtype=value.dtype)
    padded[: value.numel()] = value.flatten()
    part = padded.narrow(0, size * args.process_index, size)
    safe_set_local_optimizer_state(weight, part.to(weight.ds_tensor.device), key)


class Partitions:
    """The engine averages gradients with each micro-batch, and counts them to the last one.

    Args:
        layout: Knows the engine.
    """

    together = True

    def __init__(self, layout: Zero) -> None:
        self.layout = layout
        self.factor = float(layout.trainer.args.world_size)

    def forward(self) -> AbstractContextManager[Any]:
        """Return the context that the forward and backward passes of a step run in."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient; what it is divided by is in the loss already."""
        engine = self.layout.engine
        engine.set_gradient_accumulation_boundary(last)
        engine.backward(loss, scale_wrt_gas=False)
        self.layout.pending = last

    def finish(self) -> None:
        """See that ranks have added up gradients of the same weights."""
        zero_limits.refuse_unlike(self.layout.used, self.layout.trainer.args.world_size)
        self.layout.used.clear()


class Stepping(TrainerCallback):
    """Steps when transformers' loop does; Accelerate leaves its own `step` empty for DeepSpeed.

    Args:
        layout: Knows the engine.
    """

    def __init__(self, layout: Zero) -> None:
        self.layout = layout

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Step once."""
        del args, state, control, kwargs
        self.layout.step()
