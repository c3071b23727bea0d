"""LoRA layers that add their adapter in place: equal to PEFT's forward, and left to it in doubt."""

from __future__ import annotations

import copy
import types

import bitsandbytes as bnb
import peft
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D

from finetune.stages import memory
from finetune.training import fused_lora
from tests.models import bases
from tests.training.drive import config_of, log_of, train

IN, OUT = 24, 40
KINDS = ("linear", "linear with bias", "conv1d", "nf4", "nf4 with bias")
SHAPES = {
    "2-d": lambda: torch.randn(7, IN),
    "3-d": lambda: torch.randn(3, 5, IN),
    "transposed": lambda: torch.randn(5, 3, IN).transpose(0, 1),
    "strided": lambda: torch.randn(3, 5, 2 * IN)[..., ::2],
    "expanded": lambda: torch.randn(1, 5, IN).expand(3, 5, IN),
}


class One(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def plain(kind, dtype=torch.float32):
    """Return a frozen layer."""
    if kind == "conv1d":
        layer = Conv1D(OUT, IN)
        nn.init.normal_(layer.bias)
        return layer.to(dtype)
    dense = nn.Linear(IN, OUT, bias="bias" in kind)
    if not kind.startswith("nf4"):
        return dense.to(dtype)
    layer = bnb.nn.Linear4bit(
        IN,
        OUT,
        bias="bias" in kind,
        compute_dtype=dtype,
        quant_type="nf4",
        compress_statistics=True,
    )
    layer.load_state_dict(dense.state_dict())
    layer.support_avx512bf16_for_cpu = False
    return layer.to("cpu")


def adapted(kind="linear", dtype=torch.float32, **options):
    """Return a model of one adapted layer, its adapter moved as training would."""
    torch.manual_seed(0)
    model = One(plain(kind, dtype))
    settings = {"r": 4, "lora_alpha": 10, "target_modules": ["layer"], **options}
    settings["fan_in_fan_out"] = kind == "conv1d"
    model = peft.get_peft_model(model, peft.LoraConfig(**settings), autocast_adapter_dtype=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3)
    return model


def layer_of(model):
    return model.base_model.model.layer


def pair(*args, **options):
    """Return the same model twice: PEFT's, and ours."""
    theirs, ours = adapted(*args, **options), adapted(*args, **options)
    assert fused_lora.install(ours) is None
    assert fused_lora.is_on(ours)
    return theirs, ours


@pytest.fixture
def calls(monkeypatch):
    """How often the function of ours was at work."""
    found = []
    apply = fused_lora.Adapted.apply
    monkeypatch.setattr(
        fused_lora.Adapted, "apply", lambda *args: (found.append(args), apply(*args))[1]
    )
    return found


def outcome(model, x, run=lambda model, x: model(x)):
    """Return what a step of a layer comes to: loss, and gradients by name."""
    x = x.clone(memory_format=torch.preserve_format) if x.requires_grad else x
    x = x.detach().requires_grad_(x.requires_grad)
    y = run(model, x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
    loss = (y.double() ** 2 * weights.abs()).mean() + (y.double() * weights).mean()
    loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return y.detach(), loss.detach(), {**grads, **({"x": x.grad} if x.requires_grad else {})}


def assert_equal(ours, theirs, *, of_loss=1e-6, of_gradients=1e-5, floor=0.0):
    assert ours[0].dtype == theirs[0].dtype
    assert ours[0].shape == theirs[0].shape
    assert float((ours[1] - theirs[1]).abs()) <= of_loss * float(theirs[1].abs())
    assert set(ours[2]) == set(theirs[2])
    for name, wanted in theirs[2].items():
        got = ours[2][name]
        assert got.dtype == wanted.dtype
        size = max(float(wanted.norm()), floor)
        assert float((got - wanted).norm()) <= of_gradients * size, name


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_equal_those_of_peft(kind, shape, asked, calls):
    theirs, ours = pair(kind)
    x = SHAPES[shape]().requires_grad_(asked)
    got = outcome(ours, x)
    assert len(calls) == 1
    if kind == "conv1d":  # which takes no other input, where ours does
        x = x.detach().contiguous().requires_grad_(asked)
    assert_equal(got, outcome(theirs, x))
    assert ("x" in got[2]) is asked


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"bias": "lora_only"}])
def test_another_scale_and_a_trained_bias_are_served(options, calls):
    theirs, ours = pair("linear with bias", **options)
    x = SHAPES["3-d"]()
    wanted, got = outcome(theirs, x), outcome(ours, x)
    assert len(calls) == 1
    assert_equal(got, wanted)
    assert any(name.endswith("base_layer.bias") for name in got[2]) is ("bias" in options)


@pytest.mark.parametrize("input_type", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_types_are_those_of_peft_and_rounding_is_no_worse(kind, input_type, calls):
    """The reference is fp32: both differ from it by the rounding of bfloat16."""
    theirs, ours = pair(kind, torch.bfloat16)
    exact = copy.deepcopy(adapted(kind))
    with torch.no_grad():
        base, other = layer_of(exact).base_layer, layer_of(theirs).base_layer
        if kind.startswith("nf4"):
            x32 = torch.eye(IN)
            assert torch.allclose(base(x32), other(x32), atol=2e-2)
        else:
            base.weight.copy_(other.weight)
            if base.bias is not None:
                base.bias.copy_(other.bias)
    x = SHAPES["3-d"]().to(input_type).requires_grad_(True)

    def run(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    wanted, got = outcome(theirs, x, run), outcome(ours, x, run)
    truth = outcome(exact, x.detach().float().requires_grad_(True))
    assert len(calls) == 1
    assert_equal(got, wanted, of_loss=3e-2, of_gradients=3e-2)
    for name, gradient in truth[2].items():
        errors = [float((part[2][name].float() - gradient).norm()) for part in (got, wanted)]
        assert errors[0] <= 1.5 * errors[1] + 1e-3 * float(gradient.norm()), name


def test_no_gradient_of_a_frozen_input_is_computed(monkeypatch):
    _, ours = pair("nf4")
    read = []
    readable = fused_lora.readable
    monkeypatch.setattr(
        fused_lora, "readable", lambda *args: (read.append(args), readable(*args))[1]
    )
    ours(torch.randn(3, IN)).sum().backward()
    assert len(read) == 1, "the base is read in the forward pass alone"
    ours(torch.randn(3, IN, requires_grad=True)).sum().backward()
    assert len(read) == 3


@pytest.mark.parametrize("kind", ["linear", "nf4"])
def test_only_the_input_and_its_small_image_are_kept(kind):
    theirs, ours = pair(kind)
    sizes = []
    for model in (theirs, ours):
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        kept = {}

        def pack(tensor, kept=kept, weights=weights):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = tensor.numel()
            return tensor

        x = torch.randn(50, IN, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(x)
        sizes.append(sum(kept.values()))
    assert sizes[1] == 50 * IN + 50 * 4
    assert sizes[1] <= sizes[0]


def test_an_output_may_be_changed_in_place():
    theirs, ours = pair()

    def run(model, x):
        y = model(x)
        y += 1
        return nn.functional.relu(y, inplace=True)

    x = SHAPES["3-d"]().requires_grad_(True)
    assert_equal(outcome(ours, x, run), outcome(theirs, x, run))


def test_an_input_that_is_changed_before_the_backward_pass_is_refused():
    _, ours = pair()
    x = torch.randn(3, IN)
    y = ours(x)
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_gradient_of_the_gradient_is_refused():
    _, ours = pair()
    x = torch.randn(3, IN, requires_grad=True)
    (gradient,) = torch.autograd.grad((ours(x) ** 2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("kind", ["linear", "nf4"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_give_the_same(kind, reentrant):
    theirs, ours = pair(kind)
    x = SHAPES["3-d"]().requires_grad_(True)

    def run(model, x):
        return checkpoint(model, x, use_reentrant=reentrant)

    assert_equal(outcome(ours, x, run), outcome(theirs, x))


def test_what_is_saved_may_be_kept_elsewhere():
    theirs, ours = pair("nf4")
    x = SHAPES["3-d"]().requires_grad_(True)

    def run(model, x):
        with torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.clone):
            return model(x)

    assert_equal(outcome(ours, x, run), outcome(theirs, x))


LEFT = {
    "DoRA": {"use_dora": True},
    "dropout": {"lora_dropout": 0.1},
    "bias": {"lora_bias": True},
    "aLoRA": {"alora_invocation_tokens": [1]},
}


@pytest.mark.parametrize("option", LEFT)
def test_other_kinds_of_lora_are_left_to_peft_and_said(option, calls):
    model = adapted("linear with bias", **LEFT[option])
    against = fused_lora.install(model)
    assert against.startswith("of 1 layers PEFT computes 1 because")
    assert not fused_lora.is_on(model)
    assert "forward" not in vars(layer_of(model))


def test_other_quantisations_are_left_to_peft():
    torch.manual_seed(0)
    model = One(bnb.nn.Linear8bitLt(IN, OUT, has_fp16_weights=False))
    model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["layer"]))
    assert "Linear8bitLt is not known here" in fused_lora.install(model)


def test_a_model_without_lora_says_so():
    assert fused_lora.install(One(nn.Linear(2, 2))) == "nothing is adapted by LoRA"


def dora_beside(model):
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["layer"], use_dora=True))
    model.set_adapter("second")


def both_active(model):
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["layer"]))
    model.base_model.set_adapter(["default", "second"])


STATES = {
    "merged": lambda model: model.merge_adapter(),
    "another adapter that is DoRA": dora_beside,
    "two adapters": both_active,
    "a hook on the base": lambda model: layer_of(model).base_layer.register_forward_hook(
        lambda _module, _args, output: output * 2
    ),
    "a base that is trained": lambda model: layer_of(model).base_layer.weight.requires_grad_(True),
}


@pytest.mark.parametrize("state", STATES)
def test_what_a_layer_becomes_later_is_left_to_peft(state, calls):
    theirs, ours = pair()
    x = SHAPES["3-d"]()
    for model in (theirs, ours):
        torch.manual_seed(3)
        STATES[state](model)
    if state == "merged":
        assert torch.equal(ours(x), theirs(x))
    else:
        assert_equal(outcome(ours, x), outcome(theirs, x))
    assert not calls


def test_a_disabled_adapter_gives_the_base(calls):
    _, ours = pair("linear with bias")
    x = torch.randn(3, IN)
    with ours.disable_adapter():
        assert torch.equal(ours(x), layer_of(ours).base_layer(x))
    assert not calls
    ours(x)
    assert len(calls) == 1


def test_rows_with_adapters_of_their_own_are_left_to_peft(calls):
    _, ours = pair()
    x = torch.randn(2, IN)
    layer = layer_of(ours).eval()
    mixed = layer(x, adapter_names=["default", "__base__"])
    assert torch.allclose(mixed[1], layer.base_layer(x)[1])
    assert not torch.allclose(mixed[0], layer.base_layer(x)[0])
    assert not calls


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_peft_s_own_forward_answers(mode, calls):
    theirs, ours = pair("nf4")
    x = torch.randn(3, IN)
    with mode():
        assert torch.equal(ours(x), theirs(x))
    assert not calls


def test_weights_of_another_type_than_the_input_are_left_to_peft_outside_autocast(calls):
    theirs, ours = pair("linear", torch.bfloat16)
    x = torch.randn(3, IN, dtype=torch.bfloat16)
    assert_equal(outcome(ours, x), outcome(theirs, x))
    assert not calls


def test_names_saving_merging_and_copies_stay_those_of_peft(tmp_path):
    theirs, ours = pair()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, model in (("ours", ours), ("theirs", theirs)):
        model.save_pretrained(str(tmp_path / name))
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("ours", "theirs")]
    assert files[0].read_bytes() == files[1].read_bytes()
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        layer_of(twin).lora_B["default"].weight.zero_()
    x = torch.randn(3, IN)
    assert torch.allclose(twin(x), layer_of(twin).base_layer(x))
    merged = ours.merge_and_unload()
    assert torch.equal(merged(x), theirs.merge_and_unload()(x))


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("family", ["bert", "t5", "gpt", "clip", "whisper"])
def test_a_whole_model_s_step_equals_peft_s(family, quantized, calls):
    base, found = bases.tiny_bases()[family], []
    for fused in (False, True):
        model = bases.adapted(base.load(quantized=quantized, dropout=0.0)).train()
        bases.disturb(model)
        if fused:
            assert fused_lora.install(model) is None
        loss = bases.answers_loss(model, base.inputs())
        loss.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((loss.detach(), loss.detach(), grads))
    assert len(calls) >= 8
    # CLIP's gradient of some keys is zero but for rounding, so that its size says nothing
    whole = sum(float(grad.norm()) ** 2 for grad in found[0][2].values()) ** 0.5
    assert_equal(found[1], found[0], of_gradients=1e-4, floor=1e-2 * whole)


def test_the_class_of_peft_keeps_its_forward():
    theirs, ours = pair()
    assert isinstance(vars(layer_of(ours))["forward"], types.MethodType)
    assert "forward" not in vars(layer_of(theirs))


LORA = ("strategy=lora", "train.max_steps=2", "train.eval_strategy=no", "model.dropout=0.0")


@pytest.mark.parametrize("strategy", ["lora", "qlora"])
def test_the_switch_changes_no_result_and_both_ways_are_on_record(tmp_path, strategy, calls):
    logs = []
    for fused in (True, False):
        options = (*LORA, f"strategy={strategy}", f"train.fused_lora={fused}")
        run, facts = train(config_of("text-classification", tmp_path / str(fused), *options))
        logs.append(log_of(run))
        assert facts["fused_lora"] is fused
        assert facts["fused_lora_because"] == (None if fused else "train.fused_lora is false")
        assert bool(calls) is fused
        calls.clear()
    for one, other in zip(*logs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


def test_a_launch_that_shards_keeps_peft_s_forward(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    config = types.SimpleNamespace(train=types.SimpleNamespace(fused_lora=True))
    model = adapted()
    assert memory.fuse_lora(config, model)["fused_lora_because"] == "ranks share the model"
    assert not fused_lora.is_on(model)
