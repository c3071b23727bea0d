"""Preferences: pairs to tokens, DPO's loss as TRL computes it, and which answer is preferred."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers as hf

from finetune.tasks.base import Prediction
from finetune.tasks.preference import Preference
from tests.training.test_sharing import FEATURES

TINY = Path(__file__).parents[2] / "finetune/models/tiny/gpt"
LOSSES = ["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "apo_zero", "apo_down"]


@pytest.fixture(scope="module")
def task():
    found = Preference()
    found.load_processor(TINY)
    return found


def of(task, **options):
    other = Preference(**options)
    other.processor, other.config_limit = task.processor, task.config_limit
    return other


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


ROW = {"prompt": [user("one tea")], "chosen": [said("tea x1")], "rejected": [said("tea x2")]}


# -- the loss ----------------------------------------------------------------------------------


def llama():
    torch.manual_seed(0)
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    ).eval()  # fmt: skip


def disturbed(model):
    other = copy.deepcopy(model)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    return other


@pytest.fixture(scope="module")
def trl_trainer(tmp_path_factory):
    from trl import DPOConfig, DPOTrainer

    class Ready(DPOTrainer):
        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset

    from datasets import Dataset

    rows = []
    for item in FEATURES:
        cut = item["chosen_tokens"]
        asked = next(n for n, label in enumerate(item["labels"]) if label != -100)
        ids = item["input_ids"]
        rows.append({
            "prompt": "", "chosen": "", "rejected": "", "prompt_ids": ids[:asked],
            "chosen_ids": ids[asked:cut], "rejected_ids": ids[cut + asked :],
        })  # fmt: skip
    base = llama()
    arguments = DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")),
        report_to="none",
        use_cpu=True,
        bf16=False,
        beta=0.3,
        label_smoothing=0.1,
        gradient_checkpointing=False,
        max_length=None,
    )
    tokenizer = hf.AutoTokenizer.from_pretrained(str(TINY))
    trainer = Ready(
        disturbed(base),
        ref_model=base,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.data_collator.pad_token_id = 0
    return trainer, rows


@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_and_gradients_are_trls(loss_type, trl_trainer):
    trainer, rows = trl_trainer
    trainer.loss_types, trainer.loss_weights = [loss_type], [1.0]
    model = trainer.model.eval()
    model.zero_grad()
    wanted = trainer.compute_loss(model, trainer.data_collator(rows))
    wanted.backward()
    theirs = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    smoothing = 0.1 if loss_type == "robust" else 0.0  # TRL leaves it out of the others
    task = Preference(loss_type=loss_type, beta=0.3, label_smoothing=smoothing)
    task.processor = SimpleNamespace(pad_token_id=0)
    bare = [{k: v for k, v in item.items() if k != "reference"} for item in FEATURES]
    batch = task.collate(bare)
    with torch.no_grad():
        batch["reference"] = task.say(trainer.ref_model.eval(), batch)
    own = llama()  # TRL has patched the other's forward
    own.load_state_dict(model.state_dict())
    total, units = task.loss(own, batch)
    (total / units).backward()
    assert (total / units).item() == pytest.approx(wanted.item(), rel=1e-5)
    largest = max(float(gradient.norm()) for gradient in theirs.values())
    for name, weight in own.named_parameters():
        assert float((weight.grad - theirs[name]).norm()) <= 1e-5 * largest, name


def batch_for(task):
    task.processor = SimpleNamespace(pad_token_id=0)
    return task.collate(FEATURES)


def test_an_adapter_that_is_switched_off_is_the_reference_where_rows_carry_none():
    from peft import LoraConfig, get_peft_model

    task, base = Preference(), llama()
    batch = batch_for(task)
    with torch.no_grad():
        reference = task.say(base, batch)
    config = LoraConfig(target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(base, config).eval()
    with torch.no_grad():
        wanted, _ = task.row_losses(model, {**batch, "reference": reference})
        del batch["reference"]
        found, _ = task.row_losses(model, batch)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_without_a_reference_all_answers_are_equally_likely_to_it():
    task = Preference(reference_free=True)
    batch = batch_for(task)
    model = llama()
    with torch.no_grad():
        found, _ = task.row_losses(model, batch)
        zeros = torch.zeros_like(batch["reference"])
        wanted, _ = Preference().row_losses(model, {**batch, "reference": zeros})
    assert bool((found == wanted).all())
    assert not task.needs_reference


def test_the_chosen_answer_may_be_learnt_beside():
    batch, model = batch_for(Preference()), llama()
    with torch.no_grad():
        plain, _ = Preference().row_losses(model, batch)
        both, _ = Preference(rpo_alpha=0.5).row_losses(model, batch)
        likely = Preference().say(model, batch)[:, 0]
    sizes = torch.tensor([float((row != -100).sum()) for row in batch["labels"][0::2]])
    torch.testing.assert_close(both - plain, -0.5 * likely / sizes, rtol=1e-4, atol=1e-5)


# -- the answers -------------------------------------------------------------------------------


def test_what_is_preferred_is_relative_to_the_reference_where_the_row_carries_one(task):
    from finetune.models.load import LoadOptions

    model = task.load_model(TINY, LoadOptions(dropout=0.0)).model
    [[chosen, rejected]] = task.say_of(model, [ROW])
    [plain] = task.predict(model, [ROW])
    assert plain.value == ("chosen" if chosen > rejected else "rejected")
    assert plain.score == pytest.approx(0.1 * (chosen - rejected))
    for shift, value in ((1.0, "chosen"), (-1.0, "rejected"), (0.0, "neither")):
        reference = [chosen - shift, rejected]
        [found] = task.predict(model, [{**ROW, "reference": reference}])
        assert (found.value, found.score) == (value, pytest.approx(0.1 * shift))


def test_the_longer_answer_is_what_the_baseline_prefers(task):
    rows = [
        {**ROW, "chosen": [said("a long answer")]},
        {**ROW, "rejected": [said("a long answer")]},
        ROW,
    ]
    longer, chance = task.baselines()["longer_answer"], task.baselines()["chance"]
    assert [p.value for p in longer([], rows)] == ["chosen", "rejected", "neither"]
    assert [p.value for p in chance([], rows)] == ["neither"] * 3


def test_baselines_have_an_accuracy_and_no_margin(task):
    found = task.score([Prediction("chosen"), Prediction("neither")], ["chosen", "chosen"])
    assert found == {"preference_accuracy": 0.75}
