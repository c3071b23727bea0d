"""What other tools call our keys: only for the hint of an unknown key, never taken silently."""

from __future__ import annotations

SYNONYMS = {
    "alpha": "strategy.lora_alpha",
    "base_model": "model.name_or_path",
    "batch_size": "train.global_batch_size",
    "bf16": "train.precision",
    "checkpoint": "model.name_or_path",
    "data_path": "data.path",
    "dataset": "data.path",
    "dataset_name": "data.path",
    "dropout": "model.dropout",
    "early_stopping": "train.early_stopping_patience",
    "epochs": "train.num_train_epochs",
    "eval_batch_size": "evaluate.batch_size",
    "fp16": "train.precision",
    "grad_clip": "train.max_grad_norm",
    "gradient_accumulation_steps": "train.global_batch_size",
    "gradient_clip_val": "train.max_grad_norm",
    "load_in_4bit": "strategy",
    "lr": "train.learning_rate",
    "lr_scheduler": "train.lr_scheduler_type",
    "max_epochs": "train.num_train_epochs",
    "max_seq_len": "task.max_length",
    "max_seq_length": "task.max_length",
    "model_id": "model.name_or_path",
    "model_name": "model.name_or_path",
    "model_name_or_path": "model.name_or_path",
    "n_epochs": "train.num_train_epochs",
    "num_epochs": "train.num_train_epochs",
    "num_workers": "train.dataloader_num_workers",
    "optimizer": "train.optim",
    "output_dir": "run.dir",
    "patience": "train.early_stopping_patience",
    "peft": "strategy",
    "per_device_eval_batch_size": "evaluate.batch_size",
    "per_device_train_batch_size": "train.micro_batch_size",
    "random_state": "seed",
    "rank": "strategy.r",
    "report_to": "tracking.report_to",
    "run_name": "name",
    "save_dir": "run.dir",
    "scheduler": "train.lr_scheduler_type",
    "steps": "train.max_steps",
    "test_file": "data.test",
    "train_batch_size": "train.global_batch_size",
    "train_file": "data.train",
    "validation_file": "data.validation",
    "warmup_steps": "train.warmup_ratio",
    "wd": "train.weight_decay",
}
"""Their name → our dotted key."""

INSTEAD = {
    "freeze": "beside an adapter all is frozen: say where it is put with `strategy.target_modules`",
    "target_modules": "to train a part of the model, freeze the rest with `strategy.freeze`",
}
"""A key of one strategy → what others have in its place."""
VALUES = {
    "adamw": "adamw_torch_fused",
    "bfloat16": "bf16",
    "dpo": "sigmoid",
    "f1": "macro_f1",
    "float16": "fp16",
    "float32": "fp32",
    "gpu": "cuda",
}
"""What a choice is called elsewhere → ours; only for the hint as well."""
