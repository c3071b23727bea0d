"""LoRA layers whose adapter is added in place: PEFT's modules and names, one autograd node each.

PEFT's forward makes three products and a sum of them, and autograd keeps or makes a tensor of the
size of the output or of the input for most of these. Here the low-rank product is accumulated into
the base's output, and its part of the input's gradient into the base's; only the input and its
image of rank r are kept for the backward pass. A frozen weight that is quantised, or held in
another type than is computed in, is made readable once in each pass and let go of again.

The forward of a layer's instance is replaced and nothing else, so that saving, loading, merging and
switching adapters stay PEFT's. Whatever a layer's state is when it is called, and isn't known here,
is left to PEFT's own forward.
"""

from __future__ import annotations

import functools
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

if TYPE_CHECKING:
    from torch import Tensor


class Adapted(torch.autograd.Function):
    """y = x Wᵀ + bias + s (x Aᵀ) Bᵀ with W frozen, in place; all operands but W of one type."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        bias: Tensor | None,
        weight: Tensor,
        scale: float,
        base: nn.Module,
    ) -> Tensor:
        """Return shape (rows, out) of x, shape (rows, in), A, shape (r, in), B, shape (out, r)."""
        matrix = readable(base, weight, x.dtype).t()
        y = x @ matrix if bias is None else torch.addmm(bias, x, matrix)
        image = a @ x.t()  # lying, for fewer rows than columns multiply up to three times as fast
        y.addmm_(image.t(), b.t(), alpha=scale)
        ctx.save_for_backward(x, image, a, b, weight)
        ctx.scale, ctx.base = scale, base
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, A, B and the bias, as far as they are asked for."""
        x, image, a, b, weight = ctx.saved_tensors
        wants_x, wants_a, wants_b, wants_bias = ctx.needs_input_grad[:4]
        dx = da = db = None
        if wants_b:
            db = (image @ dy).mul_(ctx.scale).t()
        if wants_x or wants_a:
            back = (b.t() @ dy.t()).mul_(ctx.scale)
        if wants_a:
            da = back @ x
        if wants_x:
            dx = dy @ readable(ctx.base, weight, dy.dtype)
            dx.addmm_(back.t(), a)
        return dx, da, db, dy.sum(0) if wants_bias else None, None, None, None


def readable(base: nn.Module, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a frozen layer's matrix, shape (out, in), in the type to compute in."""
    state = getattr(base.weight, "quant_state", None)  # not of `weight`: hooks on what is saved
    if state is not None:  # may have made another tensor of it
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight, state).to(dtype)
    return (weight.t() if isinstance(base, Conv1D) else weight).to(dtype)


def install(model: nn.Module) -> str | None:
    """Let every LoRA layer that is known here add its adapter in place.

    Args:
        model: As PEFT has wrapped it, before it is wrapped for several ranks.

    Returns:
        Why none or not all do, or None where all do.
    """
    from peft.tuners.lora import LoraLayer

    found = [module for module in model.modules() if isinstance(module, LoraLayer)]
    if not found:
        return "nothing is adapted by LoRA"
    left: Counter[str] = Counter()
    for layer in found:
        against = reason_against(layer)
        if against is not None:
            left[against] += 1
        else:
            # a bound method, which a copy of the model binds to the copy's own layer
            vars(layer)["forward"] = types.MethodType(forward, layer)
    if not left:
        return None
    reasons = ", ".join(f"{number} because {why}" for why, number in left.most_common())
    return f"of {len(found)} layers PEFT computes {reasons}"


def is_on(model: nn.Module) -> bool:
    """Tell whether any layer adds its adapter in place."""
    return any(
        getattr(vars(module).get("forward"), "__func__", None) is forward
        for module in model.modules()
    )


def forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Compute a LoRA layer in place where that is known to equal PEFT's forward, else by that."""
    dtype = None
    if torch.is_grad_enabled() and not args and not kwargs and reason_against(layer) is None:
        dtype = computed_in(layer, x)
    if dtype is None:
        found: Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return found
    a, b, scale = adapter(layer)
    base = layer.base_layer
    y: Tensor = Adapted.apply(
        x.reshape(-1, x.shape[-1]).to(dtype),
        a.to(dtype),
        b.to(dtype),
        None if base.bias is None else base.bias.to(dtype),
        base.weight,
        scale,
        base,
    )
    y = y.view(*x.shape[:-1], y.shape[-1])
    # a quantised layer answers in the type that it was asked in
    return y.to(x.dtype) if hasattr(base.weight, "quant_state") else y


def adapter(layer: Any) -> tuple[Tensor, Tensor, float]:
    """Return A, B and the scale of a layer's only active adapter."""
    name = layer.active_adapters[0]
    return layer.lora_A[name].weight, layer.lora_B[name].weight, float(layer.scaling[name])


def computed_in(layer: Any, x: Tensor) -> torch.dtype | None:
    """Return the type that PEFT's forward computes all of a layer in, None where they are two."""
    a, b, _ = adapter(layer)
    base = layer.base_layer
    quantised = hasattr(base.weight, "quant_state")
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        held = {base.compute_dtype} if quantised else {dtype}
    else:
        dtype = x.dtype
        held = {a.dtype, b.dtype, base.compute_dtype if quantised else base.weight.dtype}
    return dtype if held == {dtype} else None


def reason_against(layer: Any) -> str | None:
    """Return why a layer as it stands is left to PEFT, or None where it is a plain LoRA layer."""
    layers, bases, held = known()
    base, active = layer.base_layer, layer.active_adapters
    if type(layer) not in layers or type(base) not in bases:
        return f"{type(base).__name__} is not known here"
    if layer.disable_adapters or layer.merged_adapters:
        return "the adapter is off or merged"
    if len(active) != 1 or active[0] not in layer.lora_A:
        return "not one adapter is active"
    name = active[0]
    if name in layer.lora_variant:
        return f"of its {type(layer.lora_variant[name]).__name__}"
    if layer.lora_bias.get(name):
        return "the adapter has a bias"
    if type(layer.lora_dropout[name]) is not nn.Identity:
        return "of dropout"
    parts = (base, layer.lora_A[name], layer.lora_B[name])
    if any(is_watched(part) for part in parts):
        return "somebody watches its parts"
    if any(type(part.weight) not in held for part in parts):
        return "its weights are sharded or of a kind of their own"
    if base.weight.requires_grad:
        return "its base is trained"
    state = getattr(base.weight, "quant_state", None)
    if hasattr(base.weight, "quant_state") and (
        state is None
        or tuple(state.shape) != (layer.out_features, layer.in_features)
        or getattr(state, "packing_format_for_cpu", False)
    ):
        return "its quantised weights are packed in a way of their own"
    return None


@functools.cache
def known() -> tuple[set[type], set[type], set[type]]:
    """Return the layers of PEFT, the base layers and the kinds of weights that are served here."""
    from bitsandbytes.nn import Linear4bit, Params4bit
    from peft.tuners.lora.bnb import Linear4bit as AdaptedLinear4bit
    from peft.tuners.lora.layer import Linear

    return (
        {Linear, AdaptedLinear4bit},
        {nn.Linear, Conv1D, Linear4bit},
        {nn.Parameter, Params4bit},
    )


def is_watched(module: nn.Module) -> bool:
    """Tell whether a module does something else when it is called than its class says."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )
