"""What is known of a base model or a sample, and when it gives way to what the user says."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from finetune.config import places, yaml_file
from finetune.config.schema import RunConfig
from finetune.config.validate import build

MODEL_FACTS = ("revision", "mirror", "sha256", "license", "train_defaults")
DATA_SOURCES = ("path", "train", "validation", "test", "mix")


def forget_facts(
    plain: dict[str, Any], overrides: Sequence[Override], *, data_choice: str | None
) -> dict[str, Any]:
    """Drop what a recipe knew of its own model or sample when the command line names another.

    Args:
        plain: What was composed; changed in place.
        overrides: The command line.
        data_choice: The member of the group `data` that was chosen, such as ``sample/intents``;
            what its file says is forgotten, what the recipe itself says of columns is kept.
    """
    given = {override.key_or_group for override in overrides}

    def was_given(key: str) -> bool:
        return any(name == key or name.startswith(f"{key}.") for name in given)

    if "model.name_or_path" in given and isinstance(plain.get("model"), dict):
        plain["model"] = {
            key: value
            for key, value in plain["model"].items()
            if key not in MODEL_FACTS or was_given(f"model.{key}")
        }
    named = given & {"data.path", "data.train"} or was_given("data.mix")
    if named and isinstance(plain.get("data"), dict):
        known = sample_facts(data_choice)
        data = plain["data"]
        for key in DATA_SOURCES:
            if not was_given(f"data.{key}"):
                data.pop(key, None)
        for key, value in known.items():
            if data.get(key) == value and not was_given(f"data.{key}"):
                data.pop(key, None)
        if isinstance(data.get("columns"), dict) and "data.columns" not in given:
            same = known.get("columns") or {}
            data["columns"] = {
                column: source
                for column, source in data["columns"].items()
                if f"data.columns.{column}" in given or same.get(column) != source
            }
    return plain


def sample_facts(choice: str | None) -> dict[str, Any]:
    """Return what the file of a `data` choice says."""
    file = places.find("data", choice) if choice else None
    content = OmegaConf.to_container(yaml_file.read(file)) if file else {}
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def fill_in(config: RunConfig, given: Container[str], problems: list[str]) -> None:
    """Give `train` keys that nobody set the values known for this base, else the strategy's.

    Args:
        config: Changed in place.
        given: The `train` keys that somebody set to a value.
        problems: Grows by a sentence for each value known for this base that is none.
    """
    values = config.model.train_defaults.get(config.strategy.name, {})
    path = f"model.train_defaults.{config.strategy.name}"
    known = build(type(config.train), values, path, problems)
    for key in values:
        if key not in given and hasattr(known, key):
            setattr(config.train, key, getattr(known, key))
    if config.train.learning_rate is None:
        config.train.learning_rate = config.strategy.learning_rate
    if config.train.num_train_epochs is None:
        config.train.num_train_epochs = 3.0
