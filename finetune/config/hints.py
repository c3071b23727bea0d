"""What may be meant by an option or a first word that the command line does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune.config import names, places
from finetune.config.synonyms import SYNONYMS
from finetune.errors import ConfigError, did_you_mean, nearest

OPTIONS = ("-m", "--multirun", "--debug", "--help", "--version")


def refuse_options(arguments: Sequence[str]) -> None:
    """Refuse what looks like an option, pointing to the setting that it would be elsewhere.

    Raises:
        ConfigError: With a sentence for each.
    """
    problems = []
    for argument in arguments:
        if not argument.startswith("-"):
            continue
        word, _, value = argument.lstrip("-").replace("-", "_").partition("=")
        meant = setting_like(word)
        if close := nearest(argument, OPTIONS, cutoff=0.75):
            hint = f", did you mean `{close[0]}`?"
        elif meant:
            hint = f"; write `{meant}={value or 'VALUE'}`."
        else:
            hint = "."
        problems.append(f"`{argument}` is no option{hint}")
    if problems:
        raise ConfigError(
            problems,
            fix="Options are -m, --debug, --help and --version; settings are written key=value.",
        )


def setting_like(word: str) -> str | None:
    """Return the dotted key that a word means here, if any."""
    known = names.dotted_keys()
    return (
        SYNONYMS.get(word) or (word if word in names.ROOT else None) or known.get(word, (None,))[0]
    )


def unknown_verb(verb: str, verbs: Sequence[str]) -> ConfigError:
    """Return the error for a first word that is no verb."""
    if nearest(verb, ("train", "finetune", "fit"), cutoff=0.75):
        hint = "; the whole job needs none: `python -m finetune recipe=NAME`."
    elif verb in names.ROOT:
        hint = f": it is a setting, written `{verb}=…`."
    elif verb in places.recipe_names():
        hint = f"; a recipe is named by `recipe={verb}`."
    elif Path(verb).is_dir():
        hint = f"; a run is replayed by `run={verb}`, data is named by `data.path={verb}`."
    elif Path(verb).exists():
        hint = f"; data is named by `data.path={verb}`."
    else:
        hint = did_you_mean(verb, verbs) or f"; verbs are: {', '.join(verbs)}."
    return ConfigError(f"`{verb}` is no verb{hint}")
