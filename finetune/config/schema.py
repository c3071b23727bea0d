"""Every configuration key, as dataclasses; the task's own options are on its Task class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from finetune.config.bounds import bounded
from finetune.config.data_schema import DataConfig


@dataclass
class ModelConfig:
    """The base model and how it is loaded."""

    name_or_path: str = ""
    """Hub id, local folder, or ``package:module/folder`` for a folder in an installed package."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    mirror: str | None = None
    """Where to take the same files from when the hub is out of reach."""
    sha256: str | dict[str, str] | None = None
    """Expected hash of ``model.safetensors``, or of each named file; checked before loading."""
    license: str | None = None
    """Licence of the base model, for the card and the manifest."""
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention kernels, by transformers' names."""
    dropout: float | None = bounded(low=0.0, high=0.99)
    """Set every dropout of the base to this; null keeps what its configuration says."""
    audio_context: Literal["auto"] | None = None
    """Let an encoder of sound hear as long as the longest recording while it is trained: faster,
    but another function; null pads to the length that it was pretrained with."""
    train_defaults: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By strategy name: values for `train` keys that nobody set, known to work for this base."""


@dataclass
class QuantizationConfig:
    """How the frozen base is quantised (bitsandbytes names)."""

    bits: Literal[4, 8] = 4
    """Bits per weight."""
    quant_type: Literal["nf4", "fp4"] = "nf4"
    """4-bit data type."""
    double_quant: bool = True
    """Quantise the quantisation constants as well."""


@dataclass
class FullStrategy:
    """Every weight is trained, or all but those of some modules."""

    name: str = "full"
    """What this strategy is called in reports and in `model.train_defaults`."""
    peft_type: None = None
    """No adapter."""
    freeze: list[str] = field(default_factory=list)
    """Modules that keep their pretrained weights, such as `vision_model` or `encoder`."""
    learning_rate: float = bounded(5e-5, above=0.0)
    """Learning rate when neither `train` nor the base model says one."""


@dataclass
class LoraStrategy:
    """Low-rank adapters on a frozen base (Hu et al. 2021), optionally quantised (QLoRA)."""

    name: str = "lora"
    """What this strategy is called in reports and in `model.train_defaults`."""
    peft_type: Literal["LORA"] = "LORA"
    """PEFT's name of the adapter."""
    r: int = bounded(16, low=1)
    """Rank."""
    lora_alpha: float = bounded(32, above=0.0)
    """Scale; the update is multiplied by ``lora_alpha / r``."""
    lora_dropout: float = bounded(0.0, low=0.0, high=0.99)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Which modules get an adapter: ``all-linear`` (all but the head), names, or one regex."""
    exclude_modules: str | list[str] | None = None
    """Modules that get none."""
    modules_to_save: list[str] = field(default_factory=list)
    """Modules trained in full beside the adapter; a new head is always among them."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases are trained."""
    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)`` instead."""
    use_dora: bool = False
    """Weight-decomposed LoRA."""
    layers_to_transform: list[int] | None = None
    """Only these layers, by index."""
    quantization: QuantizationConfig | None = None
    """Quantise the frozen base: QLoRA."""
    learning_rate: float = bounded(2e-4, above=0.0)
    """Learning rate when neither `train` nor the base model says one."""


@dataclass
class PeftStrategy:
    """Any other PEFT method, by PEFT's own type and field names."""

    peft_type: str = ""
    """PEFT's type, such as IA3 or LOHA."""
    name: str = "peft"
    """What this strategy is called in reports and in `model.train_defaults`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of PEFT's configuration class, checked when the model is loaded."""
    quantization: QuantizationConfig | None = None
    """Quantise the frozen base."""
    learning_rate: float = bounded(1e-3, above=0.0)
    """Learning rate when neither `train` nor the base model says one."""


Strategy = FullStrategy | LoraStrategy | PeftStrategy


@dataclass
class TrainConfig:
    """Optimisation. The global batch is what the mathematics sees; the rest is what fits."""

    global_batch_size: int = bounded(32, low=1)
    """Rows per optimiser step, over all ranks and micro-batches."""
    micro_batch_size: int | Literal["auto"] = bounded("auto", low=1)
    """Rows per forward pass; the result does not depend on it."""
    num_train_epochs: float | None = bounded(above=0.0)
    """Passes over the training rows; 3 unless the base model's `train_defaults` say otherwise."""
    max_steps: int | None = bounded(low=1)
    """Stop after this many optimiser steps, whatever the epochs."""
    learning_rate: float | None = bounded(above=0.0, high=10.0)
    """Peak learning rate; null takes the base model's or the strategy's."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
    ] = "linear"
    """Schedule after the warm-up."""
    warmup_ratio: float = bounded(0.06, low=0.0, high=1.0)
    """Share of the steps over which the learning rate rises, from 0 in the first of them, as in
    transformers; less than two steps are none."""
    weight_decay: float = bounded(0.0, low=0.0, high=1.0)
    """Decoupled weight decay; not on biases and norms."""
    max_grad_norm: float = bounded(1.0, low=0.0)
    """Clip the gradient of the global batch to this norm; 0 does not clip."""
    optim: Literal[
        "adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"
    ] = "adamw_torch_fused"
    """Optimiser, by transformers' names."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Mixed precision; auto is bf16 where the device computes it natively, else fp32."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: less memory, more time; auto does where an
    estimate says that they would not fit."""
    group_by_length: bool = True
    """Cut each global batch, itself unchanged, into micro-batches of similar length."""
    logging_steps: int = bounded(1, low=1)
    """Write a line to logs/metrics.jsonl every so many steps."""
    padding_free: bool = True
    """Spare the model's layers the padding, where that is found to make no difference."""
    fused_lora: bool = True
    """Add LoRA's product to the frozen layer's in place, where that is known to equal PEFT's."""
    absorbed_attention: bool | Literal["auto"] = "auto"
    """Let a decoder's few queries look at an encoder's states themselves, without keys and values
    of each place, where that is less to compute; auto does on a CPU."""
    frozen_cache: bool = True
    """Compute what no trained weight takes part in once per row, and keep it on disk."""
    frozen_cache_gb: float = bounded(20.0, low=0.0)
    """Most that it may take on disk, over all runs; at most half of what is free."""
    features_cache: bool = True
    """Decode pictures and sound once per row and keep what becomes of them, within the same limit,
    where reading it is found to be faster."""
    eval_strategy: Literal["epoch", "steps", "no"] = "epoch"
    """When validation is scored and a checkpoint written."""
    eval_steps: int | None = bounded(low=1)
    """How often, with eval_strategy=steps."""
    eval_max_rows: int = bounded(256, low=1)
    """At most this many validation rows are scored while training."""
    early_stopping_patience: int | None = bounded(low=1)
    """Stop after this many evaluations without a better primary metric."""
    load_best_model_at_end: bool = True
    """Export the checkpoint with the best primary metric on validation, not the last; of equal ones
    the lower validation loss decides, then the later step."""
    save_total_limit: int = bounded(2, low=1)
    """Checkpoints kept; the best and the last always are."""
    dataloader_num_workers: int | Literal["auto"] = bounded("auto", low=0)
    """Processes that make batches; auto is 0 unless decoding is found to keep training waiting."""
    save_strategy: Literal["auto", "epoch", "steps", "no"] = "auto"
    """When a checkpoint is written: auto is with each evaluation, or each epoch without any; the
    best and the last step are saved whatever this says."""
    save_steps: int | None = bounded(low=1)
    """How often, with save_strategy=steps."""
    save_minutes: float | None = bounded(30.0, above=0.0)
    """Also when the last checkpoint is older than this; null leaves it to save_strategy."""
    async_save: bool = True
    """Hash and sync a checkpoint while training goes on; what is written is the same."""
    max_hours: float | None = bounded(above=0.0)
    """Save and end after so many hours of training; the same command goes on from there."""
    max_nonfinite_steps: int = bounded(0, low=0)
    """Steps whose loss or gradient is no number that are left out; one more ends the run."""
    loss_spike_factor: float | None = bounded(3.0, above=1.0)
    """Report a loss of so many times the median of recent steps in logs/events.jsonl."""
    profile: bool = False
    """Measure where the time goes: logs/profile/profile.md says it, with a trace beside it."""
    resume: Literal["auto", "never"] = "auto"
    """Whether an unfinished run goes on from its newest valid checkpoint."""
    dist_timeout: int = bounded(600, low=1)
    """Seconds that processes wait for each other before the one that hangs is named and ended."""
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """Each row once an epoch, or each class equally often, rows of rare ones being repeated."""


@dataclass
class GoalConfig:
    """What the run must reach."""

    metric: str | None = None
    """Metric name; the task's primary metric when null."""
    target: float | None = None
    """Value to reach on the test rows; the run exits 10 when it doesn't."""


@dataclass
class EvaluateConfig:
    """Scoring on the test rows."""

    batch_size: int = bounded(32, low=1)
    """Rows per forward pass."""
    max_rows: int | None = bounded(low=1)
    """Score at most this many test rows."""
    base_model: bool = True
    """Score the untouched base model on the same rows."""
    baselines: bool = True
    """Score the task's simple baselines on the same rows."""
    confidence: float = bounded(0.95, above=0.0, high=0.9999)
    """Level of the bootstrap intervals."""
    resamples: int = bounded(1000, low=10)
    """Bootstrap resamples."""
    metrics: list[str] = field(default_factory=list)
    """Further metrics: ours by name, or any that `evaluate.load` finds offline."""
    goal: GoalConfig = field(default_factory=GoalConfig)
    """What must be reached."""


@dataclass
class ExportConfig:
    """The merged model."""

    merge_base: Literal["auto", "original", "dequantised"] = "auto"
    """For quantised training: fold into the original weights or into the dequantised ones."""
    parity_rows: int = bounded(64, low=1)
    """Real rows on which the merged model is compared with the trained one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the merged weights; auto keeps bfloat16 and writes float32 otherwise."""
    tolerance: float | None = bounded(above=0.0)
    """Largest relative difference of the outputs; null takes the one of the precision."""


@dataclass
class ReportConfig:
    """The report."""

    examples: int = bounded(0, low=0)
    """Test rows shown with their text; 0 keeps every row's text out of the report."""


@dataclass
class TrackingConfig:
    """Experiment trackers."""

    report_to: list[
        Literal[
            "tensorboard",
            "wandb",
            "mlflow",
            "trackio",
            "comet_ml",
            "aim",
            "clearml",
            "dvclive",
            "swanlab",
        ]
    ] = field(default_factory=lambda: ["tensorboard"])
    """Trackers, by Accelerate's names; logs/metrics.jsonl is always written."""


@dataclass
class RunFolderConfig:
    """Where the run is kept."""

    dir: str = "runs"
    """Parent of the run folder."""
    overwrite: bool = False
    """Delete an existing run of the same name first."""
    allow_changes: list[str] = field(default_factory=list)
    """Keys, `data` or `model`: what may have changed since an unfinished run, this once."""


@dataclass
class RunConfig:
    """One run, whole and validated."""

    recipe: str
    """Recipe it was composed from."""
    name: str
    """Name of the run folder; the recipe's unless given."""
    seed: int
    """Seed of every random choice."""
    model: ModelConfig
    """The base model and how it is loaded."""
    task: Any
    """The Task with its options."""
    data: DataConfig
    """The data set and its adapter."""
    strategy: Strategy
    """What is trained."""
    train: TrainConfig
    """Optimisation."""
    evaluate: EvaluateConfig
    """Scoring on the test rows."""
    export: ExportConfig
    """The merged model."""
    report: ReportConfig
    """The report."""
    tracking: TrackingConfig
    """Experiment trackers."""
    run: RunFolderConfig
    """Where the run is kept."""
    trust_remote_code: bool = False
    """Whether metrics that aren't ours may run their code; set by the command line alone."""
    plain: dict[str, Any] = field(default_factory=dict, repr=False)
    """The same as plain values: what config.yaml holds."""


SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "data": DataConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "report": ReportConfig,
    "tracking": TrackingConfig,
    "run": RunFolderConfig,
}
"""Root keys with a schema of their own; `task` and `strategy` choose theirs by what they hold."""


def strategy_schema(values: dict[str, Any]) -> type:
    """Return the dataclass that a strategy's values are checked against."""
    peft_type = values.get("peft_type")
    if peft_type is None:
        return FullStrategy
    return LoraStrategy if str(peft_type).upper() == "LORA" else PeftStrategy
