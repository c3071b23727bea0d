"""Evaluate: exported model, base and baselines on the same rows; plain transformers agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from finetune.runs import storage
from finetune.stages.evaluate import goal, row_losses
from tests.stages.finished import BERT, CLIP, GPT, T5, WHISPER, finished

SLOW = [pytest.param(tag, marks=pytest.mark.slow) for tag in (T5, GPT, CLIP, WHISPER)]


@pytest.mark.parametrize("tag", [BERT, *SLOW])
def test_scores_have_intervals_and_the_base_beside(tag):
    run = finished(tag)
    found = storage.read_json(run.evaluation / "metrics.json")
    everything = [found["test"], *found["baselines"].values()]
    assert "base_model" in found["baselines"]
    assert found["primary_metric"] in found["test"]
    for scores in everything:
        assert scores
        assert all(v["low"] <= v["value"] <= v["high"] for v in scores.values())
    rows = storage.read_jsonl(run.evaluation / "predictions.jsonl")
    assert len(rows) == found["rows"]["test"] == 8
    assert all(set(row) == {"id", "reference", "prediction", "score"} for row in rows)
    assert set(found["comparisons"]["base_model"]) >= {
        "metric",
        "difference",
        "low",
        "high",
        "p_value",
    }


class Words:
    """A task whose loss of a row is the sum of its numbers; it notes what it pads."""

    def __init__(self):
        self.padded = 0

    def encode(self, rows):
        return [{"x": row["x"], "length": len(row["x"])} for row in rows]

    def collate(self, features):
        longest = max(len(item["x"]) for item in features)
        self.padded += sum(longest - len(item["x"]) for item in features)
        return {"x": torch.tensor([[*f["x"], *[0] * (longest - len(f["x"]))] for f in features])}

    def row_losses(self, model, batch):
        return batch["x"].sum(1).float(), (batch["x"] > 0).sum(1)


def test_rows_are_judged_beside_those_of_their_length_and_told_in_their_order():
    task = Words()
    rows = [{"x": [number + 1] * length} for number, length in enumerate((9, 1, 9, 1, 9, 1))]
    found = row_losses(task, torch.nn.Linear(1, 1), rows, 3)
    assert found == [(float(sum(row["x"])), float(len(row["x"]))) for row in rows]
    assert task.padded == 0


def test_a_classifier_has_classes_confusion_and_slices():
    found = storage.read_json(finished(BERT).evaluation / "metrics.json")
    assert sum(map(sum, found["confusion"]["matrix"])) == 8
    assert sum(part["rows"] for part in found["slices"]["channel"].values()) == 8
    assert {"majority", "tfidf_logistic_regression"} <= set(found["baselines"])


PIPELINES = {
    BERT: "p = pipeline('text-classification', model=folder)\n"
    "found = [a['label'] for a in p([r['text'] for r in rows])]",
    T5: "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer\n"
    "t, m = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)\n"
    "found = [t.decode(m.generate(**t(r['source'], return_tensors='pt'))[0], "
    "skip_special_tokens=True).strip() for r in rows]",
    WHISPER: "import io, soundfile, soxr\n"
    "p = pipeline('automatic-speech-recognition', model=folder)\n"
    "sounds = [soundfile.read(io.BytesIO(r['audio']['bytes']), dtype='float32') for r in rows]\n"
    "rate = p.feature_extractor.sampling_rate\n"  # the pipeline itself resamples by torchaudio
    "sounds = [soxr.resample(sound, given, rate) for sound, given in sounds]\n"
    "greedy = {'num_beams': 1}\n"  # the pipeline's own default is a beam of five
    "found = [p({'raw': s, 'sampling_rate': rate}, generate_kwargs=greedy)['text'].strip() "
    "for s in sounds]",
    CLIP: "import io, PIL.Image, torch\n"
    "from transformers import AutoModel, AutoProcessor\n"
    "t, m = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)\n"
    "texts = list(dict.fromkeys(r['text'] for r in rows))\n"
    "images = [PIL.Image.open(io.BytesIO(r['image']['bytes'])).convert('RGB') for r in rows]\n"
    "inputs = t(text=texts, images=images, return_tensors='pt', padding=True)\n"
    "best = m(**inputs).logits_per_image.argmax(1)\n"
    "found = [texts[int(i)] for i in best]",
    GPT: "p = pipeline('text-generation', model=folder)\n"
    "found = [p(r['messages'][:-1], do_sample=False)[0]['generated_text'][-1]['content'].strip() "
    "for r in rows]",
}
PROGRAM = """
import sys, json
import pyarrow.parquet as pq
from transformers import pipeline
folder, data = sys.argv[1:]
rows = pq.read_table(data).slice(0, 8).to_pylist()
{body}
assert not any(name.split('.')[0] == 'finetune' for name in sys.modules)
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "tag",
    [BERT, *(pytest.param(tag, marks=pytest.mark.slow) for tag in (T5, GPT, CLIP, WHISPER))],
)
def test_plain_transformers_in_a_fresh_process_gives_the_predictions_of_the_report(tag):
    run = finished(tag)
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM.format(body=PIPELINES[tag]), str(run.merged),
         str(run.data / "test.parquet")],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = storage.read_jsonl(run.evaluation / "predictions.jsonl")
    assert json.loads(done.stdout.splitlines()[-1]) == [line["prediction"] for line in lines]


def test_a_metric_of_row_losses_can_be_the_primary_one():
    """Perplexity is compared row by row, too, and less is better."""
    run = finished(GPT, "task.primary_metric=perplexity")
    found = storage.read_json(run.evaluation / "metrics.json")
    tuned, base = found["test"]["perplexity"], found["baselines"]["base_model"]["perplexity"]
    compared = found["comparisons"]["base_model"]
    assert found["greater_is_better"] is False
    assert compared["metric"] == "perplexity"
    assert abs(compared["difference"]) == pytest.approx(abs(tuned["value"] - base["value"]))
    del found["baselines"]["base_model"]
    assert all("perplexity" not in scores for scores in found["baselines"].values())


def config_with(metric, target):
    wanted = SimpleNamespace(metric=metric, target=target)
    return SimpleNamespace(evaluate=SimpleNamespace(goal=wanted))


@pytest.mark.parametrize(
    ("metric", "target", "met"),
    [(None, 0.8, True), (None, 0.81, False), ("wer", 0.3, True), ("wer", 0.1, False)],
)
def test_a_goal_is_judged_in_the_direction_of_its_metric(metric, target, met):
    scores = {"accuracy": {"value": 0.8}, "wer": {"value": 0.2}}
    found = goal(config_with(metric, target), SimpleNamespace(primary="accuracy"), scores)
    assert found["met"] is met


def test_without_a_target_there_is_no_goal():
    assert goal(config_with("accuracy", None), SimpleNamespace(primary="accuracy"), {}) is None
