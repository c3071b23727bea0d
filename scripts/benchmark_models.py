"""The models that `benchmark.py` trains: written with random weights, and loaded by peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = 8_000
SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "intermediate_size": 704,
    },
    "llama-1b": {
        "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 8192,
    },
    "llama-8b": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336,
    },
}  # fmt: skip


def make_base(family: Any, folder: Path, seed: int) -> None:
    """Write a model of random weights with a tokenizer of one token per word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    architecture, vocabulary = family.architecture, family.vocabulary
    special = ["<pad>", "</s>", "<s>", "<unk>", "<cls>", "<sep>"]
    words = [*special, *(f"w{number}" for number in range(WORDS - len(special)))]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = {"bert": "<cls> $A <sep>", "t5": "$A </s>"}.get(architecture)
    if around:
        inner.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(token, words.index(token)) for token in special]
        )
    names = {"pad_token": "<pad>", "unk_token": "<unk>"}
    names |= (
        {"cls_token": "<cls>", "sep_token": "<sep>"}
        if architecture == "bert"
        else {"bos_token": "<s>", "eos_token": "</s>"}
    )
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(str(folder))
    torch.manual_seed(seed)
    model: Any
    if architecture == "bert":  # without a head, as what is published
        model = BertModel(BertConfig(
            vocab_size=vocabulary, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=1024, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            pad_token_id=0,
        ))  # fmt: skip
    elif architecture == "t5":
        model = T5ForConditionalGeneration(T5Config(
            vocab_size=vocabulary, d_model=256, d_kv=64, d_ff=1024, num_layers=4, num_heads=4,
            dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        ))  # fmt: skip
    else:
        if family.device != "cpu":
            torch.set_default_dtype(torch.bfloat16)  # in fp32, 8B would be 32 GB
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=vocabulary, max_position_embeddings=2048, pad_token_id=0, eos_token_id=1,
            bos_token_id=2, **SHAPES[family.shape],
        ))  # fmt: skip
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(str(folder))


def load(family: Any, base: Path) -> tuple[Any, str]:
    """Return the model with its head, and what PEFT calls the task."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    frozen = torch.float32 if family.device == "cpu" else torch.bfloat16
    options: dict[str, Any] = {"dtype": frozen if family.strategy != "full" else torch.float32}
    if family.architecture == "bert":
        options["num_labels"] = 8
        found = AutoModelForSequenceClassification.from_pretrained(str(base), **options)
        return found, "SEQ_CLS"
    if family.architecture == "t5":
        return AutoModelForSeq2SeqLM.from_pretrained(str(base), **options), "SEQ_2_SEQ_LM"
    if family.strategy == "qlora":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=frozen,
        )
    return AutoModelForCausalLM.from_pretrained(str(base), **options), "CAUSAL_LM"
