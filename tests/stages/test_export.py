"""Export: compared before it is published, complete, and free of what could run."""

from __future__ import annotations

import json

import pytest

from finetune.models import parity
from tests.stages.finished import BERT, GPT, WHISPER, arguments, copy_of, finished, say

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


@pytest.mark.parametrize("tag", [BERT, pytest.param(GPT, marks=pytest.mark.slow)])
def test_a_model_that_differs_from_the_trained_one_is_not_published(tmp_path, monkeypatch, tag):
    run = copy_of(finished(tag), tmp_path)
    for stage in ("export", "evaluate", "report"):
        run.forget_stages([stage])
    import shutil

    shutil.rmtree(run.merged)
    shutil.rmtree(run.adapter)
    check = parity.outputs_of_folder

    def tampered(folder, *args):
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        name = max(weights, key=lambda key: weights[key].numel())
        weights[name] *= 1.5
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return check(folder, *args)

    monkeypatch.setattr(parity, "outputs_of_folder", tampered)
    said = say(*arguments(tag, tmp_path))
    assert said.code == 10
    assert "differs from the trained one" in said.problems()[0]
    assert not run.merged.exists()
    assert not run.adapter.exists()
    assert not list(run.path.glob(".merged*"))
    assert run.checkpoints.is_dir()
    assert json.loads(run.error.read_text())["code"] == 10
    monkeypatch.undo()
    assert say(*arguments(tag, tmp_path)).code == 0


def test_parity_is_recorded():
    facts = finished(BERT).manifest()["stages"]["export"]["parity"]
    assert facts["rows"] == 8
    assert 0 <= facts["max_abs_difference"] <= facts["tolerance"] * facts["scale"]
    assert facts["same_prediction"] == 1.0
    assert "fresh process" in facts["compared"]


def test_nothing_published_is_a_pickle():
    run = finished(BERT)
    published = [*run.merged.rglob("*"), *run.adapter.rglob("*")]
    assert published
    assert not [file for file in published if file.suffix in PICKLES]
    magic = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
    assert not [f for f in published if f.is_file() and f.read_bytes()[:4].startswith(magic)]


def test_the_merged_classifier_has_tokenizer_labels_and_card():
    run = finished(BERT)
    names = {file.name for file in run.merged.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    config = json.loads((run.merged / "config.json").read_text())
    labels = set(json.loads((run.data / "audit.json").read_text())["classes"])
    assert set(config["id2label"].values()) == labels
    assert "_name_or_path" not in config or not config["_name_or_path"]
    assert (run.merged / "README.md").read_text().startswith("---\n")


@pytest.mark.slow
def test_the_merged_chat_model_has_its_template_and_generation_settings():
    names = {file.name for file in finished(GPT).merged.iterdir()}
    assert {"chat_template.jinja", "generation_config.json", "tokenizer.json"} <= names


@pytest.mark.slow
def test_the_merged_speech_model_has_its_processor():
    names = {file.name for file in finished(WHISPER).merged.iterdir()}
    assert names & {"preprocessor_config.json", "processor_config.json"}
    assert {"generation_config.json", "tokenizer.json"} <= names


def test_the_adapter_names_its_base_and_no_folder_of_this_machine():
    config = json.loads((finished(BERT).adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "package:finetune/models/tiny/bert"
    assert config["inference_mode"] is True
    assert {f.name for f in finished(BERT).adapter.iterdir()} >= {"adapter_model.safetensors"}
