"""Every key has a meaning in words, and something outside configuration reads it."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
from pathlib import Path

import pytest

import finetune
from finetune.config import names
from finetune.config.clean_schema import CleanConfig
from finetune.config.listing import docstrings
from finetune.config.schema import (
    SECTIONS,
    FullStrategy,
    LoraStrategy,
    PeftStrategy,
    RunConfig,
    strategy_schema,
)
from finetune.data.cleaning.base import ORDER, find
from finetune.data.files import Reading
from finetune.data.split import SplitOptions
from finetune.stages.prepare import READING

PACKAGE = Path(finetune.__file__).parent
KEYS = sorted({key for keys in names.dotted_keys().values() for key in keys if "." in key})
DEAD: dict[str, str] = {}


def reads_in(file: Path) -> set[tuple[str, str]]:
    """Return (section, key) of each ``….section.key`` in a file, by any name of the section."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    called: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = zip(
                target.elts if isinstance(target, ast.Tuple) else [target],
                value.elts if isinstance(value, ast.Tuple) else [value],
                strict=False,
            )
            for name, section in pairs:
                if isinstance(name, ast.Name) and isinstance(section, ast.Attribute):
                    called.setdefault(name.id, set()).add(section.attr)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.add(("strategy", str(node.slice.value)))  # its options are handed on as a dict
        if isinstance(node, ast.Attribute):
            holder = node.value
            if isinstance(holder, ast.Attribute):
                found.add((holder.attr, node.attr))
            elif isinstance(holder, ast.Name):
                found.add((holder.id, node.attr))
                found |= {(section, node.attr) for section in called.get(holder.id, ())}
    return found


def fields_of_peft() -> set[str]:
    """Return the fields of PEFT's LoraConfig without importing it."""
    spec = importlib.util.find_spec("peft")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "tuners" / "lora" / "config.py"
    return {
        node.target.id
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


@pytest.fixture(scope="module")
def read() -> set[tuple[str, str]]:
    """What is read outside configuration; `train_defaults` exist for composition alone."""
    files = [
        file
        for file in PACKAGE.rglob("*.py")
        if file.relative_to(PACKAGE).parts[0] != "config" or file.name == "known.py"
    ]
    return set().union(*(reads_in(file) for file in files))


def handed_on(key: str) -> bool:
    """Tell whether a key is a field of what its whole section is handed to."""
    section, leaf = key.split(".")[-2:]
    if section == "strategy":
        return leaf in fields_of_peft()
    if key in {f"data.{name}" for name in READING}:
        return leaf in {field.name for field in dataclasses.fields(Reading)}
    if key.startswith("data.split."):
        return leaf in {field.name for field in dataclasses.fields(SplitOptions)}
    if key.startswith("data.clean.") and section in ORDER:
        return leaf in {field.name for field in dataclasses.fields(find(section))}
    if key.startswith("data.clean."):
        texts = [file.read_text(encoding="utf-8") for file in (PACKAGE / "data").glob("*.py")]
        return any(f'"{section}"' in text and f'"{leaf}"' in text for text in texts)
    return False


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(key, marks=pytest.mark.xfail(reason=DEAD[key], strict=True))
        if key in DEAD
        else key
        for key in KEYS
    ],
)
def test_every_key_is_read_by_something(key, read):
    section, leaf = key.split(".")[-2:]
    assert (section, leaf) in read or handed_on(key)


def test_options_of_a_cleaning_step_are_those_of_its_class_with_the_same_defaults():
    for step in ORDER:
        schema = {field.name: field for field in dataclasses.fields(CleanConfig)}[step]
        asked = dataclasses.asdict(schema.default_factory())
        made = find(step)()
        assert {name: _plain(getattr(made, name)) for name in asked} == asked, step


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


SCHEMAS = [*SECTIONS.values(), FullStrategy, LoraStrategy, PeftStrategy, RunConfig]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_key_says_in_a_sentence_what_it_means(schema):
    meanings = docstrings(schema)
    for field in dataclasses.fields(schema):
        assert meanings.get(field.name, "").endswith("."), field.name


@pytest.mark.parametrize("schema", [*SECTIONS.values(), FullStrategy, LoraStrategy, PeftStrategy])
def test_every_default_is_valid_itself(schema):
    from finetune.config.validate import build

    problems: list[str] = []
    build(schema, dataclasses.asdict(schema()), "x", problems)
    assert problems == []


def test_the_peft_type_decides_on_the_keys_of_a_strategy():
    assert strategy_schema({}) is FullStrategy
    assert strategy_schema({"peft_type": "LORA"}) is LoraStrategy
    assert strategy_schema({"peft_type": "IA3"}) is PeftStrategy
