"""What the intents and chat samples and their two minute bases promise."""

from __future__ import annotations

import csv
import importlib
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "finetune/data/samples"
TINY = ROOT / "finetune/models/tiny"


def script(name: str) -> ModuleType:
    """Import a module of scripts/ (`samples.chat`), which isn't a package of the project."""
    path = str(ROOT / "scripts")
    sys.path.insert(0, path)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(path)


@pytest.fixture(scope="module")
def intents() -> list[dict[str, str]]:
    with (SAMPLES / "intents/intents.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def chat() -> list[dict]:
    lines = (SAMPLES / "chat/chat.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("module", "file"), [("intents", "intents/intents.csv"), ("chat", "chat/chat.jsonl")]
)
def test_the_generator_writes_the_bundled_file_byte_for_byte(
    tmp_path: Path, module: str, file: str
) -> None:
    written = script(f"samples.{module}").write(tmp_path)
    assert written.read_bytes() == (SAMPLES / file).read_bytes()


def test_intents_has_at_least_1200_rows_in_ten_classes_over_four_channels(intents) -> None:
    assert len(intents) >= 1_200
    assert list(intents[0]) == ["text", "label", "channel"]
    labels = Counter(row["label"] for row in intents)
    assert len(labels) == 10
    assert min(labels.values()) >= 100
    assert set(Counter(row["channel"] for row in intents)) == {"email", "chat", "phone", "social"}
    assert max(labels.values()) / len(intents) < 0.15


def test_intents_has_no_duplicates_and_no_near_duplicates(intents) -> None:
    generator = script("samples.intents")
    texts = [re.sub(r"\W+", " ", row["text"].lower()) for row in intents]
    assert len(set(texts)) == len(texts)
    for label in {row["label"] for row in intents}:
        grams = [generator.trigrams(row["text"]) for row in intents if row["label"] == label]
        for i, left in enumerate(grams):
            worst = max((generator.similarity(left, right) for right in grams[:i]), default=0.0)
            assert worst <= generator.NEAR_DUPLICATE


def test_each_intent_has_at_least_forty_sentences_written_by_hand() -> None:
    for label, (cores, asides) in script("samples.intents").read_cores().items():
        assert len(set(cores)) >= 40, label
        assert asides, label


def test_intents_is_neither_trivial_nor_hopeless_for_a_linear_baseline(intents) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = intents.copy()
    random.Random(0).shuffle(rows)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    cut = int(0.7 * len(rows))
    baseline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10)
    )
    accuracy = baseline.fit(texts[:cut], labels[:cut]).score(texts[cut:], labels[cut:])
    assert 0.85 <= accuracy <= 0.97


def test_chat_alternates_user_and_assistant_with_some_systems_and_some_second_turns(chat) -> None:
    assert 1_000 <= len(chat) <= 1_500
    roles = Counter("-".join(turn["role"][0] for turn in row["messages"]) for row in chat)
    assert set(roles) == {"u-a", "s-u-a", "u-a-u-a", "s-u-a-u-a"}
    assert min(roles.values()) >= 100


def test_the_answer_of_a_chat_follows_from_what_came_before(chat) -> None:
    answers: dict[str, str] = {}
    for row in chat:
        users = [turn["content"] for turn in row["messages"] if turn["role"] == "user"]
        assert answers.setdefault(json.dumps(users), row["messages"][-1]["content"])
        assert answers[json.dumps(users)] == row["messages"][-1]["content"]
    assert len(answers) == len(chat)


def test_every_answer_of_chat_is_in_the_short_form(chat) -> None:
    line = re.compile(r"[a-z ]+ x\d+( (small|medium|large))?( \+[a-z ]+)?")
    for row in chat:
        for turn in row["messages"]:
            if turn["role"] == "assistant":
                assert all(line.fullmatch(part) for part in turn["content"].split("; "))


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_a_minute_base_is_at_most_three_megabytes_of_safetensors_with_a_card(family: str) -> None:
    folder = TINY / family
    assert (folder / "model.safetensors").stat().st_size <= 3_000_000
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".jinja", ".md", ".safetensors"}
    assert "license: apache-2.0" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_every_linear_layer_of_a_minute_base_fits_the_blocks_of_nf4(family: str) -> None:
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(TINY / family)
    linear = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert linear
    assert all(layer.in_features % 64 == layer.out_features % 64 == 0 for layer in linear)


def test_bert_is_pretrained_its_masked_words_are_far_from_uniform() -> None:
    import math

    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    material = script("pretrain.bert_material")
    tokenizer = AutoTokenizer.from_pretrained(TINY / "bert")
    model = AutoModelForMaskedLM.from_pretrained(TINY / "bert").eval()
    rng, topics = random.Random(99), material.read_topics()
    texts = [material.message(topics[name], rng) for name in topics for _ in range(4)]
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_special_tokens_mask=True)
    special = batch.pop("special_tokens_mask").bool()
    chosen = (
        torch.rand(special.shape, generator=torch.Generator().manual_seed(0)) < 0.15
    ) & ~special
    labels = batch["input_ids"].masked_fill(~chosen, -100)
    batch["input_ids"] = batch["input_ids"].masked_fill(chosen, tokenizer.mask_token_id)
    with torch.no_grad():
        loss = model(**batch, labels=labels).loss.item()
    assert loss < 0.6 * math.log(len(tokenizer))
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.0


def test_the_pooler_of_bert_comes_from_the_checkpoint() -> None:
    from transformers import AutoModel

    _, report = AutoModel.from_pretrained(TINY / "bert", output_loading_info=True)
    assert not report["missing_keys"]


def test_gpt_is_pretrained_its_next_tokens_are_far_from_uniform() -> None:
    import math

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    material = script("pretrain.gpt_material")
    tokenizer = AutoTokenizer.from_pretrained(TINY / "gpt")
    model = AutoModelForCausalLM.from_pretrained(TINY / "gpt").eval()
    rng, losses = random.Random(99), []
    for _ in range(20):
        batch = tokenizer.apply_chat_template(
            material.shopping(rng), return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            losses.append(model(**batch, labels=batch["input_ids"]).loss.item())
    assert sum(losses) / len(losses) < 0.4 * math.log(len(tokenizer))


def test_gpt_marks_the_words_of_the_assistant_and_its_end_of_sequence_for_the_loss() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY / "gpt")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two teas, please."},
        {"role": "assistant", "content": "tea x2"},
    ]
    encoded = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [
        token
        for token, own in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if own
    ]
    assert tokenizer.decode(marked) == "tea x2<|im_end|>"
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    assert len(ends) == 3


def test_gpt_stops_at_the_end_of_an_answer() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY / "gpt")
    model = AutoModelForCausalLM.from_pretrained(TINY / "gpt")
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    messages = [{"role": "user", "content": "Use plus signs. Please send three hammers."}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt)[0, prompt["input_ids"].shape[1] :].tolist()
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answer, skip_special_tokens=True) == "3 hammer"
