"""Where real tokens are, and which of them attend in one call."""

from __future__ import annotations

import torch
from transformers.masking_utils import bidirectional_mask_function

from finetune.training import segments
from finetune.training.segments import Segments


def mask_of(*lengths, width=None):
    width = width or max(lengths)
    return torch.arange(width)[None] < torch.tensor(lengths)[:, None]


def test_the_rectangle_comes_back_with_zeros_for_padding_wherever_it_was():
    mask = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    own = Segments(mask, bidirectional_mask_function)
    states = torch.randn(3, 4, 5)
    flat = own.flat(states)
    assert flat.shape == (1, 7, 5)
    assert bool((own.rectangle(flat) == states * mask[..., None]).all())


def test_what_has_no_place_in_the_rectangle_is_left_alone():
    own = Segments(mask_of(2, 4), bidirectional_mask_function)
    for other in (None, 3, torch.ones(4), torch.ones(2, 3, 5), torch.ones(1, 4, 4, 4)):
        assert own.flat(other) is other
    position = torch.arange(4)[None]
    assert own.flat((position, None))[0].tolist() == [[0, 1, 0, 1, 2, 3]]
    assert own.flat(position) is own.flat(position), "layers share what they are given alike"


def test_sequences_of_like_length_attend_in_one_call():
    lengths = [4, 4, 5, 6, 20, 24, 25, 26]
    found = segments.groups(lengths, torch.device("cpu"))
    assert [(g.rows, g.length) for g in found] == [(3, 5), (1, 6), (3, 25), (1, 26)]
    assert [g.real is None for g in found] == [False, True, False, True]
    assert found[-1].end == sum(lengths)
