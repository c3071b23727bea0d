"""Hub data sets, against a hub that is made up."""

import pytest

from finetune.data.hub import looks_like_id
from finetune.data.sources import Reading, read
from finetune.errors import HubError

ROWS = [{"text": "a", "label": "1"}, {"text": "b", "label": "2"}]


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch):
    import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(HubError, match="neither a file or folder here") as raised:
        read("some-org/some-set")
    assert "data.path=FOLDER" in raised.value.fix


def test_the_hub_is_asked_for_the_revision_and_its_splits_renamed(monkeypatch):
    import datasets

    asked = {}

    def load(path, **options):
        asked.update(options, path=path)
        return {"train": datasets.Dataset.from_list(ROWS), "dev": datasets.Dataset.from_list(ROWS)}

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = read("some-org/some-set", Reading(name="en", revision="abc"))
    assert asked == {"path": "some-org/some-set", "name": "en", "revision": "abc"}
    assert list(found) == ["train", "validation"]
    assert found["validation"].ids == ["dev:1", "dev:2"]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("BuilderConfig 'x' not found. Available: ['de', 'en']", "data.name"),
        ("Dataset scripts are no longer supported", "refs/convert/parquet"),
    ],
)
def test_what_the_hub_says_is_turned_into_what_to_set(monkeypatch, said, advice):
    import datasets

    def refuse(*args, **kwargs):
        raise ValueError(said)

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(HubError) as raised:
        read("some-org/some-set")
    assert advice in raised.value.fix


def test_class_numbers_of_a_hub_set_become_names(monkeypatch):
    import datasets

    features = datasets.Features({"label": datasets.ClassLabel(names=["ham", "spam"])})
    made = datasets.Dataset.from_dict({"label": [1, 0, None]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": made})
    assert read("org/set")["train"].table["label"].to_pylist() == ["spam", "ham", None]


def test_an_id_has_two_parts_and_no_suffix_of_a_file():
    assert looks_like_id("org/name")
    assert not looks_like_id("name")
    assert not looks_like_id("org/data.csv")
    assert not looks_like_id("org/data.jsonl.zst")
