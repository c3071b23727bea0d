"""Hugging Face `evaluate` as the interface: ours as its modules, offline, and its modules by name.

An `evaluate` module from the hub or from a script is a program, so it is loaded only on request.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    FinetuneError,
    HubError,
    NumericsError,
    did_you_mean,
)
from finetune.metrics.base import Array, Metric, row_mean, with_count
from finetune.metrics.discovery import find, names
from finetune.metrics.intervals import Estimate, interval, resampled_sums, score

if TYPE_CHECKING:
    from evaluate import EvaluationModule


def load(name: str, *, trust: bool = False) -> EvaluationModule:
    """Return a metric with the `evaluate` interface: `compute`, `add`, `add_batch`.

    Our own metrics work offline and leave nothing on disk. Any other name goes to `evaluate.load`.

    Args:
        name: One of `names()`, a hub name such as `bertscore`, or a local metric script or folder.
        trust: Allow a metric that isn't ours to run its code.

    Raises:
        ArtefactError: The metric isn't ours and `trust` is false, or its code fails to load.
        ConfigError: The metric needs a package that is not installed, or its script is missing.
        HubError: The hub cannot be reached or has no such metric.
    """
    if name in names():
        return _wrap(find(name))
    if name.endswith(".py") and not Path(name).is_file():
        raise ConfigError(f"There is no metric script `{name}`.", fix="Check the path to the file.")
    if not trust:
        raise ArtefactError(
            f"The metric `{name}` is not one of finetune's own{did_you_mean(name, names()) or ','}"
            " and a metric from the hub or from a script runs its own code on this machine.",
            fix=f"Read that code and allow it with `trust=True`, or choose one of "
            f"{', '.join(f'`{known}`' for known in names())}.",
        )
    import evaluate
    from huggingface_hub.constants import HF_HUB_OFFLINE

    # `evaluate` 0.4.6 has its own switch and would call home though the hub's says offline.
    evaluate.config.HF_EVALUATE_OFFLINE = evaluate.config.HF_EVALUATE_OFFLINE or HF_HUB_OFFLINE
    try:
        return evaluate.load(name, keep_in_memory=True)
    except ImportError as error:
        raise ConfigError(
            f"The metric `{name}` needs a package that is not installed: {_sentence(error)}",
            fix="Install what it names, then run again.",
        ) from error
    except OSError as error:  # FileNotFoundError and ConnectionError are among these
        raise HubError(
            f"The metric `{name}` could not be fetched from the hub: {_sentence(error)}",
            fix="Check the name and the connection, or download the metric's script and give its "
            "path instead of its name.",
        ) from error
    except Exception as error:
        raise ArtefactError(
            f"The code of the metric `{name}` failed to load: {_sentence(error)}",
            fix="Report it to the metric's author, or choose one of ours.",
        ) from error


def score_by_name(
    metrics: Iterable[str],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    trust: bool = False,
    confidence: float = 0.95,
    resamples: int = 1000,
    recomputations: int = 100,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Score with any mixture of our metrics and `evaluate` modules, in the order given.

    A module's list of one number a row is averaged; a module that returns several results gives
    each under `<metric>_<result>`. The interval of a single number, which can't be split into
    rows, comes from computing it again `recomputations` times on resampled rows.

    Raises:
        DataError: A module refuses the rows.
        NumericsError: A module's result is not finite.
        FinetuneError: As `load` and `score` do.
    """
    asked = list(metrics)
    known = set(names())
    external = {name: load(name, trust=trust) for name in asked if name not in known}
    ours = score(
        [find(name) for name in asked if name in known],
        predictions,
        references,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    found: dict[str, Estimate] = {}
    for name in asked:
        if name in known:
            found[name] = ours[name]
        else:
            found |= score_function(
                _computation(name, external[name]),
                predictions,
                references,
                confidence=confidence,
                resamples=resamples,
                recomputations=recomputations,
                seed=seed,
            )
    return found


def score_function(
    compute: Callable[[list[Any], list[Any]], Mapping[str, Any]],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    recomputations: int = 100,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Bootstrap a function of all rows that gives numbers, or one number for each row.

    Raises:
        NumericsError: A result is not finite.
    """
    guesses, truths = list(predictions), list(references)
    rows = len(truths)
    singles: dict[str, float] = {}
    found: dict[str, Estimate] = {}
    for key, result in compute(guesses, truths).items():
        numbers = _numbers(result, rows)
        if numbers is None:
            continue
        if not np.isfinite(numbers).all():
            raise NumericsError(
                f"The metric `{key}` is undefined on these {rows} rows: its result is not finite.",
                fix="Leave it out of the recipe, or evaluate on more rows.",
            )
        if numbers.ndim == 0:
            singles[key] = float(numbers)
        else:
            statistics = with_count(numbers)
            sums = np.concatenate(list(resampled_sums(statistics, resamples, seed)))
            value = float(row_mean(statistics.sum(axis=0)))
            found[key] = interval(value, row_mean(sums), confidence)
    replicates: dict[str, list[float]] = {key: [value] for key, value in singles.items()}
    generator = np.random.default_rng(seed)
    for _ in range(recomputations if singles else 0):
        drawn = generator.integers(0, rows, rows)
        again = compute([guesses[i] for i in drawn], [truths[i] for i in drawn])
        for key, values in replicates.items():
            values.append(float(again[key]))
    for key, value in singles.items():
        finite = np.asarray(replicates[key], dtype=np.float64)
        found[key] = interval(value, finite[np.isfinite(finite)], confidence)
    return found


def _wrap(metric: Metric) -> EvaluationModule:
    """Return one of our metrics as an `evaluate` module that keeps its rows in memory."""
    import evaluate
    from datasets import Features, List, Value

    text, number = Value("string"), Value("float64")
    # `evaluate` takes the first pair of kinds that fits the first row.
    kinds = [
        (text, text),
        (text, List(text)),
        (number, number),
        (number, text),
        (List(number), text),
        (List(number), number),
    ]

    class OwnMetric(evaluate.Metric):  # evaluate ships no types
        """One of finetune's metrics."""

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=metric.description,
                citation="",
                features=[Features({"predictions": p, "references": r}) for p, r in kinds],
                inputs_description="One prediction and one reference for each row.",
            )

        def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
            return {metric.name: metric(predictions, references)}

    # `evaluate` makes its cache folder even when told to use memory alone.
    with tempfile.TemporaryDirectory() as scratch:
        module = OwnMetric(keep_in_memory=True, cache_dir=scratch)
    module.info.module_name = metric.name
    return module


def _computation(
    name: str, module: EvaluationModule
) -> Callable[[list[Any], list[Any]], dict[str, Any]]:
    """Return the module's computation with its results named after the metric."""
    short = Path(name).stem

    def compute(predictions: list[Any], references: list[Any]) -> dict[str, Any]:
        guesses, truths = _as_expected(module, predictions, references)
        try:
            results = module.compute(predictions=guesses, references=truths)
        except FinetuneError:
            raise
        except Exception as error:
            raise DataError(
                f"The metric `{name}` refused the rows: {_sentence(error)}",
                fix="Choose a metric that fits the task, or one of ours.",
            ) from error
        return {
            short if key == short or len(results) == 1 else f"{short}_{key}": value
            for key, value in results.items()
        }

    return compute


def _as_expected(
    module: EvaluationModule, predictions: list[Any], references: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Number our string labels where a module takes integers only, as the hub's accuracy does."""
    from datasets import Value

    features = module.features
    integers = not isinstance(features, list) and all(
        isinstance(kind, Value) and kind.dtype.startswith("int") for kind in features.values()
    )
    if not integers or not all(isinstance(label, str) for label in [*predictions, *references]):
        return predictions, references
    code = {label: place for place, label in enumerate(sorted({*predictions, *references}))}
    return [code[x] for x in predictions], [code[x] for x in references]


def _numbers(result: Any, rows: int) -> Array | None:
    """Return a number, or one number for each row; None for whatever else a module tells."""
    try:
        numbers = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape in ((), (rows,)) else None


def _sentence(error: BaseException) -> str:
    """Return the first line of a foreign error, ended."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if text.endswith((".", "!", "?")) else f"{text}."
