"""Options that a model's JSON files may not hold; whole folders are in test_trust.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import ArtefactError
from finetune.models import traps


def written(folder: Path, content: Any, name: str = "config.json") -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def test_a_part_that_would_be_fetched_from_elsewhere_is_refused(tmp_path: Path) -> None:
    traps.check(written(tmp_path, {"use_pretrained_backbone": False, "backbone": "resnet50"}))
    config = {"vision_config": {"use_pretrained_backbone": True, "backbone": "org/evil"}}
    with pytest.raises(ArtefactError, match="use_pretrained_backbone"):
        traps.check(written(tmp_path, config))


@pytest.mark.parametrize(
    "options",
    [
        {"megatron_config": {"a": 1}, "megatron_core": "os"},
        {"nested": [{"trust_remote_code": True}]},
    ],
)
def test_an_adapter_that_makes_peft_import_something_is_refused(
    options: dict[str, Any], tmp_path: Path
) -> None:
    name = "adapter_config.json"
    usual = {"peft_type": "LORA", "megatron_config": None, "megatron_core": "megatron.core"}
    traps.check_adapter(written(tmp_path, usual, name))
    with pytest.raises(ArtefactError, match="must not"):
        traps.check_adapter(written(tmp_path, usual | options, name))


@pytest.mark.parametrize("content", [[1], "text", None])
def test_an_adapter_whose_options_are_no_object_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="not a JSON object"):
        traps.check_adapter(written(tmp_path, content, "adapter_config.json"))


def test_a_file_is_not_read_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(traps.MAX_CONFIG + 1)
    with pytest.raises(ArtefactError, match="more than"):
        traps.read(path)


def test_what_a_refusal_quotes_of_a_file_is_short(tmp_path: Path) -> None:
    config = {"_x" * 10_000: "y" * 10_000}
    with pytest.raises(ArtefactError) as caught:
        traps.check(written(tmp_path, config))
    assert len(str(caught.value)) < 600
