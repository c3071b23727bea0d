"""Layers without padding: the losses and gradients of the padded batch, for many architectures."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from torch import nn

from finetune.training import attention, unpadded

SIZE = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SIZE, "intermediate_size": 64}
GROUPED = {**WIDE, "num_key_value_heads": 2}
SHORT = {"vocab_size": 50, "d_model": 32, "num_heads": 4}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BART = {
    f"{side}_{what}": value
    for side in ("encoder", "decoder")
    for what, value in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
}
MODELS = {
    "bert": (hf.BertForSequenceClassification, hf.BertConfig, WIDE),
    "bert-tokens": (hf.BertForTokenClassification, hf.BertConfig, WIDE),
    "roberta": (hf.RobertaForSequenceClassification, hf.RobertaConfig, WIDE),
    "distilbert": (
        hf.DistilBertForSequenceClassification, hf.DistilBertConfig,
        {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    ),
    "electra": (
        hf.ElectraForSequenceClassification, hf.ElectraConfig, {**WIDE, "embedding_size": 32}
    ),
    "modernbert": (
        hf.ModernBertForSequenceClassification, hf.ModernBertConfig,
        {**WIDE, **ENDS, "local_attention": 8, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, GROUPED),
    "qwen": (hf.Qwen3ForCausalLM, hf.Qwen3Config, {**GROUPED, "head_dim": 8}),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, {**GROUPED, "sliding_window": 4}),
    "gemma": (
        hf.Gemma3ForCausalLM, hf.Gemma3TextConfig,
        {**GROUPED, "head_dim": 8, "sliding_window": 4, **ENDS},
    ),
    "gpt2": (
        hf.GPT2LMHeadModel, hf.GPT2Config,
        {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4},
    ),
    "neox": (hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, WIDE),
    "t5": (hf.T5ForConditionalGeneration, hf.T5Config, {**SHORT, "d_kv": 8, "num_layers": 2}),
    "bart": (
        hf.BartForConditionalGeneration, hf.BartConfig, {"vocab_size": 50, "d_model": 32, **BART}
    ),
    "clip-text": (
        hf.CLIPTextModelWithProjection, hf.CLIPTextConfig,
        {**WIDE, "eos_token_id": 3, "projection_dim": 16},
    ),
}  # fmt: skip
LENGTHS = [4, 9, 8, 14, 5, 20]


def batch_of(*lengths):
    torch.manual_seed(1)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    ids = torch.randint(4, 50, mask.shape).where(mask, 0)
    for row, length in enumerate(lengths):
        ids[row, length - 1] = 3
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": torch.zeros(len(lengths))}


class Sum:
    """A task whose loss of a row is a sum over what the model says of its tokens."""

    @staticmethod
    def row_losses(model, batch):
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        mask = inputs["attention_mask"].bool()
        if model.config.is_encoder_decoder:
            shown = torch.tensor([[3], [1], [9], [2], [5], [7]])[: len(mask)]  # tokens of targets
            inputs["decoder_input_ids"] = inputs["input_ids"][:, : int(shown.max())]
            length = inputs["decoder_input_ids"].shape[1]
            target = torch.arange(length)[None] < shown.clamp(max=length)
            if not hasattr(model, "unmasked"):
                inputs["decoder_attention_mask"] = target.long()
        output = model(**inputs)
        states = (
            (output.logits if "logits" in output else output[0]).float().log_softmax(-1)[..., 0]
        )
        if model.config.is_encoder_decoder:
            states = states * target
        elif states.shape == mask.shape:
            states = states * mask
        return states.flatten(1).sum(1) if states.dim() > 1 else states, mask.sum(1)

    @staticmethod
    def collate(features):
        return batch_of(*(item["length"] for item in features))


class Lengths:
    """Rows of given lengths."""

    def __init__(self, *lengths):
        self.lengths = list(lengths)

    def __len__(self):
        return len(self.lengths)

    def fetch(self, rows):
        return [{"length": self.lengths[row]} for row in rows]


def model_of(name):
    torch.manual_seed(0)
    kind, config, options = MODELS[name]
    return kind(config(**options)).eval()


def prepare(model, rows=None):
    rows = rows or Lengths(*LENGTHS)
    return unpadded.prepare(Sum(), model, rows, contextlib.nullcontext)


def loss_and_gradients(model, batch):
    model.zero_grad()
    losses, _ = Sum.row_losses(model, batch)
    losses.sum().backward()
    return losses.detach(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_the_padded_batch(name):
    model, batch = model_of(name), batch_of(*LENGTHS)
    wanted, gradients = loss_and_gradients(model, batch)
    assert prepare(model) is None
    beside, _ = loss_and_gradients(model, batch)
    assert bool((beside == wanted).all()), "nothing changes outside"
    made = attention.switch.made
    with unpadded.layers():
        found, others = loss_and_gradients(model, batch)
    assert attention.switch.made > made
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    for key, gradient in gradients.items():
        assert float((others[key] - gradient).norm()) < 1e-5 * largest, key


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_linear_layers_see_real_tokens_alone(name):
    model, batch, rows = model_of(name), batch_of(*LENGTHS), []
    assert prepare(model) is None
    stack = unpadded.stacks(model)[0]
    linear = [part for part in stack[-1].modules() if isinstance(part, nn.Linear)][-1]
    linear.register_forward_hook(lambda _, __, out: rows.append(tuple(out.shape[:2])))
    with unpadded.layers():
        Sum.row_losses(model, batch)
    Sum.row_losses(model, batch)
    assert rows == [(1, sum(LENGTHS)), (len(LENGTHS), max(LENGTHS))]


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "mistral"])
def test_another_row_changes_no_bit_of_a_rows_loss(name):
    model, batch = model_of(name), batch_of(*LENGTHS)
    assert prepare(model) is None
    with unpadded.layers(), torch.no_grad():
        before, _ = Sum.row_losses(model, batch)
        batch["input_ids"][3, :-1] = 7
        after, _ = Sum.row_losses(model, batch)
    others = [row for row in range(len(LENGTHS)) if row != 3]
    assert bool((before[others] == after[others]).all())
    assert before[3] != after[3]


@pytest.mark.parametrize("name", ["bert", "mistral", "t5", "bart"])
def test_activations_can_be_computed_again(name):
    model, batch = model_of(name), batch_of(*LENGTHS)
    _, gradients = loss_and_gradients(model, batch)
    assert prepare(model) is None
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        for rate in ("dropout", "attention_dropout", "activation_dropout"):
            if isinstance(getattr(part, rate, None), float):
                setattr(part, rate, 0.0)
    with unpadded.layers():
        _, others = loss_and_gradients(model, batch)
    for key, gradient in gradients.items():
        torch.testing.assert_close(others[key], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_decoder_whose_own_padding_is_not_told_sees_an_encoder_without(name):
    model, batch = model_of(name), batch_of(*LENGTHS)
    model.unmasked = True
    wanted, gradients = loss_and_gradients(model, batch)
    assert prepare(model) is None
    with unpadded.layers():
        found, others = loss_and_gradients(model, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    assert all(float((others[k] - g).norm()) < 1e-5 * largest for k, g in gradients.items())


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_decoder_projects_real_tokens_alone_of_both_batches(name):
    model, rows = model_of(name), []
    assert prepare(model) is None
    layer = unpadded.stacks(model)[1][-1]
    cross = layer.layer[1].EncDecAttention if name == "t5" else layer.encoder_attn
    query, key = (cross.q, cross.k) if name == "t5" else (cross.q_proj, cross.k_proj)
    for part in (query, key):
        part.register_forward_hook(lambda _, __, out: rows.append(tuple(out.shape[:2])))
    with unpadded.layers():
        Sum.row_losses(model, batch_of(*LENGTHS))
    assert rows == [(1, 27), (1, sum(LENGTHS))]


def test_t5_computes_no_more_biases_than_its_longest_row_has():
    model, sizes = model_of("t5"), []
    attention = model.encoder.block[0].layer[0].SelfAttention
    compute = attention.compute_bias
    attention.compute_bias = lambda q, k, **more: (sizes.append((q, k)), compute(q, k, **more))[1]
    assert prepare(model) is None
    sizes.clear()
    with unpadded.layers(), torch.no_grad():
        Sum.row_losses(model, batch_of(*LENGTHS))
    assert sizes == [(20, 20)]


def test_a_saved_model_knows_nothing_of_it(tmp_path):
    model = model_of("bert")
    assert prepare(model) is None
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
    assert hf.AutoModel.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("model", "lengths", "reason"),
    [
        (nn.Linear(2, 2), LENGTHS, "layers are not those of transformers"),
        (model_of("bert"), (7, 7, 7), "of one length"),
        (hf.BloomForCausalLM(hf.BloomConfig(**{**SIZE, "n_layer": 1})), LENGTHS, "not SDPA"),
    ],
)
def test_models_and_rows_that_it_is_not_for_are_named(model, lengths, reason):
    assert reason in prepare(model, Lengths(*lengths))


def test_a_model_that_is_given_no_padding_is_never_run(monkeypatch):
    def unmasked(features):
        return {"input_ids": torch.ones(len(features), 3, dtype=torch.long)}

    monkeypatch.setattr(Sum, "collate", staticmethod(unmasked))
    monkeypatch.setattr(Sum, "row_losses", staticmethod(lambda *_: pytest.fail("it was run")))
    assert prepare(model_of("bert")) == unpadded.NO_PADDING


def test_a_model_that_looks_at_its_mask_keeps_its_padding(monkeypatch):
    model, batch = model_of("bert"), batch_of(*LENGTHS)
    wanted, _ = loss_and_gradients(model, batch)
    forward = hf.models.bert.modeling_bert.BertLayer.forward

    def curious(self, hidden_states, attention_mask=None, *args, **kwargs):
        mask = attention_mask[:, :, :, : hidden_states.shape[1]]
        return forward(self, hidden_states, mask, *args, **kwargs)

    monkeypatch.setattr(hf.models.bert.modeling_bert.BertLayer, "forward", curious)
    unpadded.parameters.cache_clear()
    assert "needs its mask (TypeError" in prepare(model)
    assert model.config._attn_implementation == "sdpa"
    with unpadded.layers():
        found, _ = loss_and_gradients(model, batch)
    assert bool((found == wanted).all())
    unpadded.parameters.cache_clear()


def test_a_model_that_comes_to_other_losses_keeps_its_padding(monkeypatch):
    model = model_of("bert")
    monkeypatch.setattr(attention, "within", lambda _, query, *__, **___: query.transpose(0, 1))
    assert "states are" in prepare(model)
    assert not any(layer._forward_pre_hooks for layer in unpadded.stacks(model)[0])


def test_a_loss_that_is_no_number_is_no_agreement(monkeypatch):
    model = model_of("bert")
    monkeypatch.setattr(
        attention, "within", lambda _, query, *__, **___: query.transpose(0, 1) * float("nan")
    )
    assert "states are nan" in prepare(model)


def test_rows_to_compare_are_the_shortest_of_different_lengths():
    assert unpadded.of_different_lengths(Lengths(9, 3, 3, 5, 4)) == [1, 4]
    assert unpadded.of_different_lengths(Lengths()) == []


def test_running_out_of_memory_leaves_the_padding_and_the_run_alone():
    def full(model, batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    task = SimpleNamespace(row_losses=full)
    reason = unpadded.reason_against(task, nn.Linear(1, 1), {}, contextlib.nullcontext)
    assert reason == "there was no memory to compare"


def test_an_assertion_without_a_word_is_a_reason_too():
    def refuses(model, batch):
        raise AssertionError

    task = SimpleNamespace(row_losses=refuses)
    reason = unpadded.reason_against(task, nn.Linear(1, 1), {}, contextlib.nullcontext)
    assert reason == "it needs its mask (AssertionError: without a word)"
