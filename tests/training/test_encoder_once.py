"""An encoder that is asked again gives what it gave; where that could differ it is asked anew."""

from __future__ import annotations

import pytest
import torch

from finetune.training import absorbed_search, encoder_once
from tests.training.drive import config_of, train
from tests.training.test_absorbed import bart, heard, whisper


@pytest.fixture
def counted(monkeypatch):
    """Return a Whisper and how many rows its encoder has computed."""
    model, seen = whisper().eval(), []
    layer = model.model.encoder.layers[0]
    layer.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return model, seen


def losses(model, batch):
    with torch.no_grad():
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        return model(**inputs).logits


def test_the_same_sound_is_heard_once_and_the_answers_are_the_same(counted):
    model, seen = counted
    wanted = losses(model, heard(3, 7))
    seen.clear()
    with encoder_once.answering(model):
        for _ in range(3):
            assert torch.equal(losses(model, heard(3, 7)), wanted)
    assert seen == [2]
    assert "forward" not in vars(model.get_encoder())
    losses(model, heard(3, 7))
    assert seen == [2, 2]


def test_another_sound_is_heard(counted):
    model, seen = counted
    other = heard(3, 7)
    other["input_features"][1, 3, 50] += 1
    with encoder_once.answering(model):
        one, two = losses(model, heard(3, 7)), losses(model, other)
    assert seen == [2, 2]
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_what_learns_is_computed_each_time(counted):
    model, seen = counted
    with encoder_once.answering(model):
        for _ in range(2):
            model(**heard(3, 7)).loss.backward()
        model.train()
        for _ in range(2):
            losses(model, heard(3, 7))
    assert seen == [2] * 4


def test_an_encoder_with_a_mask_is_computed_each_time():
    model, seen = bart(), []
    model.model.encoder.layers[0].register_forward_pre_hook(lambda *_: seen.append(1))
    ids = torch.randint(5, 99, (2, 7))
    with encoder_once.answering(model), torch.no_grad():
        for _ in range(2):
            model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=ids)
    assert seen == [1, 1]


def test_a_model_without_an_encoder_is_left_alone():
    decoder = whisper().model.decoder
    with encoder_once.answering(decoder):
        assert "forward" not in vars(decoder)


def test_a_forward_of_the_instance_s_own_is_there_again_afterwards(counted):
    model, _ = counted
    encoder = model.get_encoder()
    own = encoder.forward = encoder.forward
    with encoder_once.answering(model):
        assert encoder.forward is not own
    assert encoder.forward is own


def test_a_run_hears_two_recordings_once_to_compare(tmp_path, monkeypatch):
    heard_in, answers = [], encoder_once.Answers.__call__

    def counting(self, *args, **kwargs):
        compute = self.compute

        def noted(*given, **named):
            heard_in.append(1)
            return compute(*given, **named)

        self.compute = noted
        try:
            return answers(self, *args, **kwargs)
        finally:
            self.compute = compute

    asked = []
    prepare = absorbed_search.prepare

    def noted(*args):
        asked.append(len(heard_in))
        return prepare(*args)

    monkeypatch.setattr(encoder_once.Answers, "__call__", counting)
    monkeypatch.setattr(absorbed_search, "prepare", noted)
    _, facts = train(config_of("automatic-speech-recognition", tmp_path, "train.max_steps=1"))
    assert facts["padding_free"]
    assert facts["absorbed_attention"] == 2
    assert asked == [1]  # for the padding's two comparisons,
    assert heard_in == [1]  # and for this one
