"""Tokenizers and processors load offline, pad, and know their limits."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers

from finetune.errors import ArtefactError, ConfigError
from finetune.models.processor import load_processor, load_tokenizer, token_limit
from tests.models.bases import TINY


@pytest.mark.parametrize("family", ["bert", "t5", "gpt"])
def test_a_tokenizer_loads_with_a_padding_token(family: str) -> None:
    assert load_tokenizer(TINY / family).pad_token_id is not None


@pytest.mark.parametrize("family", ["clip", "whisper"])
def test_a_processor_has_a_tokenizer_and_the_other_half(family: str) -> None:
    part = {"clip": "image_processor", "whisper": "feature_extractor"}[family]
    found = load_processor(TINY / family, part)
    assert found.tokenizer("one")["input_ids"]
    assert getattr(found, part).model_input_names


def test_without_a_padding_token_the_end_token_pads(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(TINY / "gpt")
    tokenizer.pad_token = None
    tokenizer.save_pretrained(str(tmp_path))
    found = load_tokenizer(tmp_path)
    assert found.pad_token_id == found.eos_token_id


@pytest.mark.parametrize("family", ["bert", "t5", "gpt", "clip", "whisper"])
def test_a_folder_without_tokenizer_files_is_refused(family: str, tmp_path: Path) -> None:
    shutil.copyfile(TINY / family / "config.json", tmp_path / "config.json")
    with pytest.raises(ArtefactError, match="no tokenizer") as caught:
        load_tokenizer(tmp_path)
    assert caught.value.exit_code == 4
    assert str(tmp_path) in str(caught.value)


def test_a_folder_with_half_a_processor_is_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY / "clip", tmp_path / "clip")
    for file in (tmp_path / "clip").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ArtefactError, match="no tokenizer"):
        load_processor(tmp_path / "clip", "image_processor")


def test_bytes_are_words_enough(tmp_path: Path) -> None:
    transformers.ByT5Tokenizer().save_pretrained(str(tmp_path))
    assert load_tokenizer(tmp_path)("hi")["input_ids"] == [107, 108, 1]


@pytest.mark.parametrize(
    ("family", "part"),
    [("bert", "image_processor"), ("whisper", "image_processor"), ("clip", "feature_extractor")],
)
def test_a_base_for_other_inputs_is_another_task_s(family: str, part: str) -> None:
    with pytest.raises(ConfigError, match=f"has no {part.replace('_', ' ')}"):
        load_processor(TINY / family, part)


def test_a_broken_tokenizer_is_refused_in_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(TINY / "bert", tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ArtefactError, match="no tokenizer that loads"):
        load_tokenizer(tmp_path / "bert")


def test_the_smallest_known_limit_counts() -> None:
    tokenizer = SimpleNamespace(model_max_length=512)
    assert token_limit(tokenizer) == 512
    assert token_limit(tokenizer, SimpleNamespace(max_position_embeddings=128)) == 128
    assert token_limit(tokenizer, SimpleNamespace(n_positions=64)) == 64


def test_a_limit_that_nobody_knows_is_none() -> None:
    assert token_limit(SimpleNamespace(model_max_length=int(1e30))) is None
    assert token_limit(SimpleNamespace(model_max_length=-1)) is None


def test_relative_positions_are_no_limit() -> None:
    t5 = SimpleNamespace(n_positions=512, is_encoder_decoder=True)
    assert token_limit(SimpleNamespace(model_max_length=int(1e30)), t5) is None


@pytest.mark.parametrize("name", ["bert", "t5", "clip", "whisper"])
def test_special_tokens_that_a_user_types_are_text_here_and_in_plain_transformers(name, tmp_path):
    from transformers import AutoTokenizer

    folder = TINY / name
    tokens = AutoTokenizer.from_pretrained(str(folder)).all_special_tokens
    tokenizer = load_tokenizer(folder, special_tokens_in_text=False)
    tokenizer.save_pretrained(str(tmp_path))
    plain = AutoTokenizer.from_pretrained(str(tmp_path))
    control = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    usual = [number for number in tokenizer("one two")["input_ids"] if number in control]
    for token in tokens:
        ids = tokenizer(f"one {token} two")["input_ids"]
        assert [number for number in ids if number in control] == usual, token
        assert plain(f"one {token} two")["input_ids"] == ids


def test_special_tokens_are_read_as_such_when_that_is_asked_for():
    tokenizer = load_tokenizer(TINY / "bert", special_tokens_in_text=True)
    assert tokenizer("a [SEP] b")["input_ids"].count(tokenizer.sep_token_id) == 2


@pytest.mark.parametrize("family", ["bert", "t5", "gpt", "clip", "whisper"])
def test_a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_refused(
    family: str, tmp_path: Path
) -> None:
    folder = tmp_path / family
    shutil.copytree(TINY / family, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    part = config.get("text_config", config)
    part["vocab_size"] = 20
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    parts = {"clip": "image_processor", "whisper": "feature_extractor"}
    load = partial(load_processor, part=parts[family]) if family in parts else load_tokenizer
    with pytest.raises(ArtefactError, match=r"makes \d+ different ids, .* embeddings for 20"):
        load(folder)


HOSTILE = {
    "a pickle": b"\x80\x04cos\nsystem\n(S'false'\ntR.",
    "empty": b"",
    "deep": b"[" * 100_000,
    "another shape": b'{"version": "1.0", "model": {"type": "BPE", "vocab": 3, "merges": []}}',
    "no UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "not Unicode": b'{"model": {"type": "WordLevel", "vocab": {"\\ud800": 0}}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "gpt"
    shutil.copytree(TINY / "gpt", folder)
    (folder / "tokenizer.json").write_bytes(HOSTILE[name])
    with pytest.raises(ArtefactError) as caught:
        load_tokenizer(folder)
    assert len(str(caught.value)) < 1000


def test_a_tokenizer_of_an_odd_class_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(TINY / "bert", folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8")) | {"tokenizer_class": "RagTokenizer"}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtefactError, match="no tokenizer that loads"):
        load_tokenizer(folder)


def test_options_that_point_to_code_are_refused_where_a_tokenizer_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(TINY / "bert", folder)
    (folder / "config.json").unlink()  # a tokenizer alone: nothing else is looked at
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8")) | {"auto_map": {"AutoTokenizer": ["a.B", None]}}
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ArtefactError, match="code of its own"):
        load_tokenizer(folder)
