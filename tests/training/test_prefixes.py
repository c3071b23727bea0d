"""Kept states in place of frozen layers: the same losses and gradients, whoever is beside a row."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from finetune.training import unpadded
from finetune.training.prefixes import Prefix, keys_of
from finetune.training.rows import Rows
from finetune.training.towers import outcome
from tests.training.test_prefix_search import MODELS, find, made


@contextlib.contextmanager
def kept(task: Any, model: Any, batch: Any) -> Iterator[Prefix]:
    prefix = find(task, model, batch)
    assert isinstance(prefix, Prefix)
    prefix.install()
    prefix.known = {
        key: functools.partial(torch.clone, row) for key, row in prefix.states(task, model, batch)
    }
    try:
        yield prefix
    finally:
        prefix.remove()


def learnt(task: Any, model: Any, batch: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model.train()
    model.zero_grad()
    [losses] = outcome(task, model, batch)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def near(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    assert len(found[1]) == len(wanted[1]) > 4
    for one, other in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("is_padding_free", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_the_layers(name: str, is_padding_free: bool) -> None:
    task, model, batch, _ = made(name)
    wanted = learnt(task, model, batch)
    if is_padding_free:
        rows = Rows(ids=["0", "1"], raw=None, lengths=[9, 5], fetch=list)
        task.collate = lambda _: batch
        assert unpadded.prepare(task, model, rows, contextlib.nullcontext) is None
    spare = unpadded.layers if is_padding_free else contextlib.nullcontext
    with kept(task, model, batch) as prefix, spare(), prefix.sparing():
        near(learnt(task, model, batch), wanted)
        assert prefix.used == 1


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_known_in_any_order_and_beside_any_others(name: str) -> None:
    task, model, batch, _ = made(name)
    other = {key: value[[2, 0]] for key, value in batch.items()}
    wanted = learnt(task, model, other)
    with kept(task, model, batch) as prefix, prefix.sparing():
        near(learnt(task, model, other), wanted)
        assert prefix.used == 1


def test_the_frozen_layers_do_not_run() -> None:
    task, model, batch, _ = made("llama")
    ran: list[int] = []
    for number, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_hook(functools.partial(lambda n, *_: ran.append(n), number))
    with kept(task, model, batch) as prefix:
        ran.clear()
        with prefix.sparing():
            learnt(task, model, batch)
        assert ran == [2]


def test_a_batch_with_a_row_that_is_not_known_is_computed() -> None:
    task, model, batch, _ = made("llama")
    strange = {key: value.clone() for key, value in batch.items()}
    strange["input_ids"][1, 2] += 1
    wanted = learnt(task, model, strange)
    with kept(task, model, batch) as prefix, prefix.sparing():
        near(learnt(task, model, strange), wanted)
        assert prefix.used == 0


def test_nothing_is_spared_outside_of_the_block() -> None:
    task, model, batch, _ = made("llama")
    with kept(task, model, batch) as prefix:
        learnt(task, model, batch)
        assert prefix.used == 0


def test_padding_takes_no_part_in_a_row_s_hash_and_every_token_does() -> None:
    ids = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 9]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    padded, whole = keys_of({"input_ids": ids, "attention_mask": mask}) or []
    assert padded != whole
    assert keys_of({"input_ids": ids[:1, :3]}) == [padded]
    types = torch.zeros_like(ids)
    types[0, 1] = 1
    typed = keys_of({"input_ids": ids, "attention_mask": mask, "token_type_ids": types}) or []
    assert typed[0] != padded


@pytest.mark.parametrize(
    "more",
    [
        {"past_key_values": object()},
        {"attention_mask": torch.ones(1, 1, 2, 2)},
        {"inputs_embeds": torch.zeros(1, 2, 8)},
    ],
)
def test_a_batch_of_more_than_tokens_has_no_hashes(more: dict[str, Any]) -> None:
    assert keys_of({"input_ids": torch.tensor([[5, 6]]), **more}) is None
