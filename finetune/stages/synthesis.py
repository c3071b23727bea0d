"""Synthesize: add training rows that a local language model makes up from the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.config.schema import RunConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from finetune.data.augmentation.synthesis import Synthetic

Sampler = Callable[[Sequence[str], int], list[str]]


def add(config: RunConfig, tables: Mapping[str, pa.Table], *, device: str = "cpu") -> Synthetic:
    """Return the training rows with synthetic ones, what is to be said of them, and what was left.

    Args:
        config: The run; `data.synthesize.model` is set.
        tables: Canonical rows by split.
        device: Where the model that makes them up runs.

    Raises:
        ConfigError: The task's rows can't be made up, or a label is unknown.
        ArtefactError: The model is refused.
    """
    from finetune.data.augmentation.few_shot import Shape
    from finetune.data.augmentation.synthesis import synthesise

    synthesize = config.data.synthesize
    Shape.of(config.task.columns)  # before a model is loaded for nothing
    return synthesise(
        tables,
        config.task.columns,
        complete=sampler(config, device),
        near=groups,
        rows=synthesize.rows,
        seed=config.seed,
        labels=synthesize.labels,
        examples=synthesize.examples,
        rounds=synthesize.rounds,
        prompt=synthesize.prompt,
    )


def groups(tables: Sequence[pa.Table], columns: Sequence[str]) -> list[int]:
    """Return for each row a number that is equal for rows which are nearly alike."""
    from finetune.data.near.text import find_near

    found: list[int] = find_near(tables, columns).connected().tolist()
    return found


def sampler(config: RunConfig, device: str) -> Sampler:
    """Load the model and return what continues prompts, drawn by seed and round alone."""
    from transformers import AutoModelForCausalLM

    from finetune.models import source, trust
    from finetune.models.load import LoadOptions, load, quiet
    from finetune.models.processor import load_tokenizer, token_limit
    from finetune.tasks.generation import cut, end_tokens

    synthesize = config.data.synthesize
    base = source.resolve(str(synthesize.model), revision=synthesize.revision)
    trust.check(base.folder)
    tokenizer = load_tokenizer(base.folder)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    options = LoadOptions(device=device, dtype="float32" if device == "cpu" else "bfloat16")
    model: Any = load(base.folder, AutoModelForCausalLM, options).model
    limit = token_limit(tokenizer, model.config)
    room = max(8, limit - synthesize.max_new_tokens) if limit else None

    def complete(prompts: Sequence[str], number: int) -> list[str]:
        import torch

        texts: list[str] = []
        devices = [torch.cuda.current_device()] if device == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode(), quiet():
            torch.manual_seed(config.seed + number)
            for start in range(0, len(prompts), synthesize.batch_size):
                batch = tokenizer(
                    list(prompts[start : start + synthesize.batch_size]),
                    padding=True,
                    truncation=room is not None,
                    max_length=room,
                    return_tensors="pt",
                    return_token_type_ids=False,
                ).to(device)
                output = model.generate(
                    **batch,
                    do_sample=True,
                    temperature=synthesize.temperature,
                    top_p=synthesize.top_p,
                    max_new_tokens=synthesize.max_new_tokens,
                    pad_token_id=tokenizer.pad_token_id,
                )
                ends = end_tokens(model, tokenizer)
                written = output[:, batch["input_ids"].shape[1] :].tolist()
                texts += tokenizer.batch_decode(
                    [cut(row, ends) for row in written], skip_special_tokens=True
                )
        return texts

    return complete
