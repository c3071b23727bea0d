"""Greedy generation, with each answer's mean token log-probability and no logits kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetune.models.load import quiet
from finetune.tasks.base import Batch, Prediction

if TYPE_CHECKING:
    from torch import nn


class ChosenLogProbability:
    """A logits processor that changes nothing and notes the best log-probability of each step."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Note a step: greedy search picks the maximum of (rows, vocabulary)."""
        del input_ids
        self.steps.append(scores.float().log_softmax(-1).max(-1).values.cpu())
        return scores


def generate(
    model: nn.Module,
    batch: Batch,
    tokenizer: Any,
    *,
    prompt_tokens: int,
    max_new_tokens: int,
    **arguments: Any,
) -> list[Prediction]:
    """Answer a batch of prompts.

    Args:
        model: With transformers' ``generate``.
        batch: Inputs of ``generate``, on the model's device.
        tokenizer: Decodes the answers.
        prompt_tokens: Tokens at the start of each output that are not the answer.
        max_new_tokens: Longest answer.
        arguments: Further arguments of ``generate``.
    """
    import torch
    from transformers import LogitsProcessorList

    noted = ChosenLogProbability()
    with torch.inference_mode(), quiet():  # speech models warn of what their own defaults do
        output = model.generate(
            **batch,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([noted]),
            **arguments,
        )
    ends = end_tokens(model, tokenizer)
    answers = [cut(row[prompt_tokens:].tolist(), ends) for row in output]
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [
        Prediction(text.strip(), mean_score(noted.steps, row, steps_of(answer, ends)))
        for row, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]


def end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer."""
    ids = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = ids if isinstance(ids, list) else [ids]
    return {int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None}


def cut(tokens: Sequence[int], ends: set[int]) -> list[int]:
    """Return the tokens up to the first end token, which is kept where there is one."""
    for place, token in enumerate(tokens):
        if token in ends:
            return list(tokens[: place + 1])
    return list(tokens)


def steps_of(answer: Sequence[int], ends: set[int]) -> int:
    """Return how many steps an answer took, that to its end token included.

    Whisper's ``generate`` drops the end token of the longest answer and of no other.
    """
    return sum(token not in ends for token in answer) + 1


def mean_score(steps: Sequence[Any], row: int, length: int) -> float | None:
    """Return the mean log-probability of an answer's tokens."""
    values = [float(step[row]) for step in steps[:length] if row < len(step)]
    return sum(values) / len(values) if values else None
