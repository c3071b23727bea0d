"""Two answers to one question as tokens: two sequences, side by side from row to batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetune.data import preferences
from finetune.errors import DataError
from finetune.tasks import chat
from finetune.tasks.base import Batch, Features, Row, mask, pad
from finetune.tasks.referred import REFERENCE

if TYPE_CHECKING:
    from torch import Tensor


def encode(tokenizer: Any, row: Row, limit: int | None) -> Features:
    """Return the tokens of both sequences, one behind the other, and which of them carry loss.

    Args:
        tokenizer: With a chat template.
        row: Prompt, chosen and rejected in any shape; what the reference says of it, if known.
        limit: Most tokens of a sequence; what is beyond is cut at the end.

    Raises:
        DataError: The row holds no two answers to one question.
    """
    try:
        prompt, *answers = preferences.pair(row)
    except ValueError as error:
        raise DataError(
            f"A row holds no two answers to one question: {error}.",
            fix="Give `prompt`, `chosen` and `rejected`, as text or as lists of messages.",
        ) from error
    if (system := row.get("system")) and prompt[0]["role"] != "system":
        prompt = [{"role": "system", "content": system}, *prompt]
    whole = [sequence(tokenizer, prompt, answer) for answer in answers]
    ids = [one[:limit] for one, _ in whole]
    labels = [one[:limit] for _, one in whole]
    features: Features = {
        "input_ids": [token for one in ids for token in one],
        "labels": [label for one in labels for label in one],
        "chosen_tokens": len(ids[0]),
        "length": max(map(len, ids)),
        "n_tokens": max(len(one) for one, _ in whole),
        "target_tokens": max(len(one) - chat.first_label(marks) for one, marks in whole),
    }
    if row.get(REFERENCE) is not None:
        features[REFERENCE] = list(row[REFERENCE])
    return features


def sequence(
    tokenizer: Any, prompt: preferences.Messages, answer: preferences.Messages
) -> tuple[list[int], list[int]]:
    """Return the tokens of a sequence, and as labels those that the assistant answers with."""
    if len(answer) == 1:
        return chat.encode(tokenizer, [*prompt, *answer], "last_turn")
    ids, labels = chat.encode(tokenizer, [*prompt, *answer], "assistant")
    asked = chat.encode_prompt(tokenizer, prompt)
    together = enumerate(zip(ids, asked, strict=False))
    since = next((n for n, (a, b) in together if a != b), min(len(ids), len(asked)))
    return ids, [-100] * since + labels[since:]


def collate(features: Sequence[Features], padding: int) -> Batch:
    """Pad to the right; a pair's two sequences are neighbours, the chosen one before.

    Args:
        features: Of `encode`; what the reference says goes along where all of them carry it.
        padding: The token that is padded with.
    """
    import torch

    ids: list[list[int]] = []
    labels: list[list[int]] = []
    for item in features:
        cut = item["chosen_tokens"]
        ids += [item["input_ids"][:cut], item["input_ids"][cut:]]
        labels += [item["labels"][:cut], item["labels"][cut:]]
    batch = {
        "input_ids": pad(ids, padding),
        "attention_mask": mask(ids),
        "labels": pad(labels, -100),
    }
    if features and all(REFERENCE in item for item in features):
        said = [item[REFERENCE] for item in features]
        batch[REFERENCE] = torch.tensor(said, dtype=torch.float32)
    return batch


def complete(batch: Batch) -> Tensor:
    """Return 1 for each pair of which both answers carry loss, shape (pairs,).

    Half a pair, of which the other answer was cut off, teaches nothing.
    """
    found = (batch["labels"][:, 1:] != -100).any(1).unflatten(0, (-1, 2)).all(1)
    return found.long()
