"""Provenance: what the run was made from, by which commands, on which machine, at what cost."""

from __future__ import annotations

import shlex
from typing import Any

from finetune.reports import names
from finetune.reports.facts import Facts, dig, objects
from finetune.reports.masking import mask_argument
from finetune.reports.numbers import count, counted, duration, memory, number, share


def model(facts: Facts) -> list[tuple[str, str]]:
    """The base model and the strategy, fact by fact."""
    base, strategy = (objects(facts.manifest.get(key)) for key in ("base_model", "strategy"))
    train = objects(dig(facts.manifest, "stages", "train"))
    trainable, total = (number(strategy.get(f"{k}_parameters")) for k in ("trainable", "total"))
    share_of = (
        f"{count(trainable)} of {count(total)} ({share(trainable, total)})"
        if trainable is not None and total
        else None
    )
    hashes = _hashes(objects(base.get("sha256")))
    batch = number(train.get("global_batch_size"))
    micro, steps = (
        number(train.get(k)) for k in ("micro_batch_size", "gradient_accumulation_steps")
    )
    made = _portions(batch, micro, steps)
    done = [counted(train.get("steps"), "step")] if number(train.get("steps")) else []
    epochs, best = number(train.get("epochs")), number(train.get("best_step"))
    # 1.004 is shown as 1, and one epoch is no plural.
    done += (
        [f"{epochs:.3g} epoch{'' if f'{epochs:.3g}' == '1' else 's'}"] if epochs is not None else []
    )
    done += ["stopped early"] if train.get("stopped_early") is True else []
    rows = [
        ("Task", names.task(facts.problem) if facts.task else None),
        ("Base model", base.get("name_or_path")),
        ("Revision", base.get("revision")),
        ("Licence", base.get("license")),
        ("Parameters", count(base["parameters"]) if number(base.get("parameters")) else None),
        ("SHA-256", ", ".join(hashes)),
        ("Strategy", strategy.get("name")),
        ("Adapter", strategy.get("peft_type")),
        ("Quantization", strategy.get("quantization")),
        ("Trainable parameters", share_of),
        ("Training", ", ".join(done)),
        ("Best checkpoint", f"step {count(best)}" if best is not None else None),
        ("Global batch", f"{count(batch)} rows{made}" if batch else None),
        ("Precision", train.get("precision")),
        ("Computed", ", ".join(shortcuts(train))),
        ("Heard", heard(objects(train.get("audio_context")))),
        ("Seed", facts.manifest.get("seed")),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _portions(batch: float | None, micro: float | None, steps: float | None) -> str:
    """Say in what portions a batch was computed, on each process."""
    if not micro or not steps:
        return ""
    if steps == 1:
        return " (all at once)" if micro == batch else f" ({counted(micro, 'row')} at a time)"
    return f" ({counted(micro, 'row')} at a time, {count(steps)} times)"


def shortcuts(train: dict[str, Any]) -> list[str]:
    """Name what training was spared and the result is none the different for."""
    kept = objects(train.get("frozen_part")).get("module")
    found = [
        ("without padding", train.get("padding_free")),
        ("what was asked once for both answers", train.get("prompt_shared")),
        ("LoRA in place", train.get("fused_lora")),
        ("cross-attention on the encoder's states", train.get("absorbed_attention")),
        (f"frozen {kept} once per row", kept),
        ("activations again", objects(train.get("memory_plan")).get("gradient_checkpointing")),
    ]
    return [words for words, done in found if done]


def heard(context: dict[str, Any]) -> str | None:
    """Say how much of its context an encoder of sound had while it was trained."""
    if not context:
        return None
    return (
        f"{count(context['positions'])} of {count(context['of'])} positions while it was trained "
        "(model.audio_context); judged with all of them"
    )


def parity(facts: Facts) -> list[tuple[str, str]]:
    """The comparison of the merged model with the trained one."""
    found = objects(dig(facts.manifest, "stages", "export", "parity"))
    same, compared = number(found.get("same_prediction")), number(found.get("rows"))
    rows = [
        ("Rows compared", count(compared) if compared is not None else None),
        ("Largest difference", _small(found.get("max_abs_difference"))),
        ("Tolerance", _small(found.get("tolerance"))),
        ("Same prediction", share(same, 1) if same is not None else None),
        ("Compared", found.get("compared")),
        ("Merged in", found.get("merge_base")),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def stages(facts: Facts) -> list[tuple[str, str, str]]:
    """Time and memory of each stage, in the order of a run."""
    found = objects(facts.manifest.get("stages"))
    order = ("prepare", "train", "export", "evaluate", "report")
    known = [*(name for name in order if name in found), *sorted(set(found) - set(order))]
    return [
        (name, duration(dig(found, name, "seconds")), memory(dig(found, name, "peak_memory_bytes")))
        for name in known
    ]


def environment(facts: Facts) -> list[tuple[str, str]]:
    """The machine and the versions."""
    found = objects(facts.manifest.get("environment"))
    git = objects(facts.manifest.get("git"))
    commit = str(git["commit"])[:12] if git.get("commit") else None
    changed = ", with local changes" if git.get("dirty") else ""
    size = found.get("memory_bytes")
    rows = [
        ("finetune", facts.manifest.get("finetune_version")),
        ("Git commit", f"{commit}{changed}" if commit else None),
        ("Python", found.get("python")),
        ("Platform", found.get("platform")),
        ("Processor", found.get("processor")),
        ("Cores", found.get("cores")),
        ("Memory", memory(size) if number(size) else None),
        ("Device", found.get("device")),
        ("Processes", found.get("world_size")),
        *((str(name), version) for name, version in sorted(objects(found.get("packages")).items())),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def commands(facts: Facts) -> list[str]:
    """The command that made the run, and the one that replays it from its folder."""
    recorded = facts.manifest.get("command")
    parts = [mask_argument(str(part)) for part in recorded] if isinstance(recorded, list) else []
    folder = facts.folder.resolve()
    replay = f"python -m finetune run={shlex.quote(f'{folder.parent.name}/{folder.name}')}"
    return [*([shlex.join(parts)] if parts else []), replay]


def _hashes(files: dict[str, Any]) -> list[str]:
    """Name the weights with a short hash; how many other files were hashed."""
    weights = {name: each for name, each in files.items() if name.endswith(".safetensors")} or files
    first = [f"{name} {str(each)[:12]}" for name, each in list(weights.items())[:4]]
    more = len(files) - len(first)
    return [*first, f"{more} more in manifest.json"] if more else first


def _small(raw: Any) -> str | None:
    value = number(raw)
    return None if value is None else f"{value:.3g}"
