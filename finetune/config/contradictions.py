"""Pairs of settings that cannot both hold: a sentence for each, naming both keys."""

from __future__ import annotations

from finetune.config.schema import RunConfig


def contradictions(config: RunConfig) -> list[str]:
    """Return a sentence for each pair of settings that cannot both hold."""
    found = []
    data, train = config.data, config.train
    task = config.task  # None where it is a problem of its own
    if task is not None and task.trains and not config.model.name_or_path:
        found.append(
            "No base model is named: give model=NAME or model.name_or_path=HUB_ID_OR_FOLDER."
        )
    if not data.path and not data.train and not data.mix:
        found.append("No data is named: give data.path=FILE_OR_FOLDER or data=sample/NAME.")
    if data.path and data.train:
        found.append(
            "`data.path` and `data.train` are both given; `data.path` is for one source, "
            "with or without splits."
        )
    if data.mix and (data.path or data.train):
        found.append(
            "`data.mix` and `data.path` or `data.train` are both given; name all in `mix`."
        )
    if (data.validation or data.test) and not data.train:
        found.append("`data.validation` or `data.test` is given without `data.train`.")
    shares = data.split.train + data.split.validation + data.split.test
    if not 0.999 <= shares <= 1.001:
        found.append(
            f"`data.split` must add up to 1, got {shares:g} from train, validation and test."
        )
    if train.eval_strategy == "steps" and train.eval_steps is None:
        found.append("`train.eval_strategy=steps` needs `train.eval_steps`.")
    if train.eval_strategy != "steps" and train.eval_steps is not None:
        found.append(
            f"`train.eval_steps` is given, but `train.eval_strategy` is "
            f"{train.eval_strategy}, not steps."
        )
    if train.early_stopping_patience and train.eval_strategy == "no":
        found.append(
            "`train.early_stopping_patience` needs evaluations, but `train.eval_strategy` is no."
        )
    if isinstance(train.micro_batch_size, int) and train.micro_batch_size > train.global_batch_size:
        found.append(
            f"`train.micro_batch_size` ({train.micro_batch_size}) is larger than "
            f"`train.global_batch_size` ({train.global_batch_size})."
        )
    if task is not None and task.trains and train.global_batch_size < task.least_batch:
        found.append(
            f"`train.global_batch_size` is {train.global_batch_size}, but "
            f"{task.tag} learns by comparing the rows of a batch with each other: give at "
            f"least {task.least_batch}."
        )
    if (
        config.export.merge_base == "dequantised"
        and getattr(config.strategy, "quantization", None) is None
    ):
        found.append("`export.merge_base=dequantised` needs a quantised strategy such as qlora.")
    if config.evaluate.goal.metric and config.evaluate.goal.target is None:
        found.append("`evaluate.goal.metric` is given without `evaluate.goal.target`.")
    return found
