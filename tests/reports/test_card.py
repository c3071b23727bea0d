"""The model card: valid front matter, the measured figures, and nothing about the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from finetune.reports.card import eval_results, model_card

from . import folders
from .data import audits

FAMILIES = [folders.classification, folders.text2text, folders.chat, folders.image_text,
            folders.speech]  # fmt: skip


def front(text: str) -> dict:
    return yaml.safe_load(text.split("---")[1])


def change(folder: Path, name: str, *keys: str, to) -> None:
    value = json.loads((folder / name).read_text())
    inner = value
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    folders.write(folder / name, value)


@pytest.mark.parametrize("make", FAMILIES)
def test_the_hub_reads_the_card_of_every_family(make, tmp_path):
    text = model_card(make(tmp_path / "run"))
    card = ModelCard(text)
    metrics = json.loads((tmp_path / "run/eval/metrics.json").read_text())
    primary = metrics["primary_metric"]
    assert card.data.pipeline_tag == metrics["task"]
    assert card.data.eval_results[0].metric_value == metrics["test"][primary]["value"]
    name, results = model_index_to_eval_results(front(text)["model-index"])
    assert name == "run"
    assert len(results) == len(metrics["test"])


def test_the_sections_of_the_hub_s_template_are_there(tmp_path):
    text = model_card(folders.classification(tmp_path / "run"))
    headings = [
        "Model Details",
        "Uses",
        "Training Details",
        "Evaluation",
        "Environmental Impact",
        "Technical Specifications",
        "Citation",
    ]
    for heading in [*headings, "Bias, Risks, and Limitations"]:
        assert f"\n## {heading}\n" in text
    assert "0.887 [0.853, 0.921]" in text
    assert "[More Information Needed]" not in text


def test_a_hub_base_is_named_and_its_relation_follows_the_strategy(tmp_path):
    folder = folders.classification(tmp_path / "run")
    data = front(model_card(folder))
    assert data["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert data["base_model_relation"] == "merge"
    assert data["tags"] == ["finetune", "lora"]
    change(folder, "manifest.json", "base_model", "revision", to=None)
    mirror = "model: {mirror: 'package:mirror/model'}\n"
    (folder / "config.yaml").write_text(mirror)
    assert front(model_card(folder))["base_model"] == data["base_model"]
    change(folder, "manifest.json", "strategy", to={"name": "full", "peft_type": None})
    assert front(model_card(folder))["base_model_relation"] == "finetune"


@pytest.mark.parametrize(
    ("base", "revision"),
    [("package:finetune/models/tiny/bert", None), ("/home/anna/models/bert", None),
     ("models/mine", None), ("../bert", "x"), ("a/b/c", "x"), (None, None)],
)  # fmt: skip
def test_a_base_that_is_not_on_the_hub_is_left_out(base, revision, tmp_path):
    folder = folders.classification(tmp_path / "run")
    change(folder, "manifest.json", "base_model", "name_or_path", to=base)
    change(folder, "manifest.json", "base_model", "revision", to=revision)
    text = model_card(folder)
    assert "base_model" not in front(text)
    assert "anna" not in text


def test_no_path_user_or_token_reaches_the_card(tmp_path):
    folder = folders.classification(tmp_path / "run")
    command = ["/home/anna/venv/bin/python", "-m", "finetune", "data.path=/home/anna b/my data.csv",
               "tracking.token=abc123", "model=~/anna/x", "u=hf_CANARYabc123"]  # fmt: skip
    change(folder, "manifest.json", "command", to=command)
    change(folder, "manifest.json", "environment", "processor", to="cpu of /home/anna/box")
    config = "data: {path: /home/anna/secret/tickets.csv}\ntrain: {output: /home/anna/out}\n"
    (folder / "config.yaml").write_text(config + "strategy: {token: abc123}\n")
    text = model_card(folder)
    for leak in ("anna", "abc123", "/home", str(tmp_path)):
        assert leak not in text
    assert "tickets: train 840" in text


def test_a_label_cannot_write_markdown(tmp_path):
    folder = folders.classification(tmp_path / "run")
    payload = "[x](javascript:alert(1)) <script>|`"
    change(folder, "manifest.json", "name", to=payload)
    change(folder, "eval/metrics.json", "test", payload, to={"value": 0.5})
    text = model_card(folder).split("---", 2)[2]
    assert "<script" not in text
    assert "](javascript" not in text


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"test": 3, "baselines": [1]}', '{"a": NaN}'])
@pytest.mark.parametrize("name", ["manifest.json", "eval/metrics.json", "data/audit.json",
                                  "config.yaml"])  # fmt: skip
def test_a_card_never_fails_whatever_the_folder_holds(name, broken, tmp_path):
    folder = folders.classification(tmp_path / "run")
    (folder / name).write_text(broken)
    assert front(model_card(folder))["tags"][0] == "finetune"


def test_an_empty_folder_still_gets_a_card(tmp_path):
    assert model_card(tmp_path).startswith("---\n")
    assert eval_results(tmp_path) is None


def test_eval_results_are_for_hub_data_sets_only(tmp_path):
    folder = folders.classification(tmp_path / "run")
    assert eval_results(folder) is None
    (folder / "config.yaml").write_text("data: {path: PolyAI/banking77, format: hub}\n")
    (entry,) = yaml.safe_load(eval_results(folder))
    assert entry["dataset"]["id"] == "PolyAI/banking77"
    assert entry["value"] == pytest.approx(0.8875)


def test_an_unusual_licence_is_other_with_its_name(tmp_path):
    folder = folders.classification(tmp_path / "run")
    change(folder, "manifest.json", "base_model", "license", to="My Own Terms")
    data = front(model_card(folder))
    assert (data["license"], data["license_name"]) == ("other", "My Own Terms")


@pytest.mark.parametrize(("epochs", "words"), [(1, "1 epoch,"), (1.0004, "1 epoch,"),
                                               (0.5, "0.5 epochs"), (2, "2 epochs")])  # fmt: skip
def test_one_epoch_is_no_plural(epochs, words, tmp_path):
    folder = folders.classification(tmp_path / "run")
    change(folder, "manifest.json", "stages", "train", "epochs", to=epochs)
    change(folder, "manifest.json", "stages", "train", "stopped_early", to=True)
    assert words in model_card(folder)


def test_the_card_says_what_was_done_with_the_training_data(tmp_path):
    folder = folders.classification(tmp_path / "run")
    folders.write(folder / "data/audit.json", audits.full())
    text = model_card(folder)
    assert "- 190 rows of 1,302" in text
    assert "- Put right: wrong encodings (31 rows)" in text
    assert "Canary" not in text
