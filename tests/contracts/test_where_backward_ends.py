"""A backward pass ends at the first layer that is trained: nothing asks for gradients below it.

PEFT's `prepare_model_for_kbit_training` and its preparation for checkpointed models let embeddings
require gradients, which costs a backward pass through every frozen layer.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.modeling_layers import GradientCheckpointingLayer

from finetune.training.trainer import TaskTrainer
from tests.training.drive import config_of, train

OPTIONS = (
    *("train.max_steps=1", "train.eval_strategy=no", "strategy.layers_to_transform=[1]"),
    "model.dropout=0.0",
)


@pytest.fixture
def graph(monkeypatch):
    """Whether what a layer returned has a history, by its number; and that of the embeddings."""
    found, step = {}, TaskTrainer.training_step

    def watched(self, model, *args, **kwargs):
        inner = self.accelerator.unwrap_model(model)
        layers = [m for m in inner.modules() if isinstance(m, GradientCheckpointingLayer)]

        def note(name):
            def hook(module, inputs, output):
                states = output[0] if isinstance(output, tuple) else output
                found[name] = states.requires_grad

            return hook

        parts = {"embeddings": inner.get_input_embeddings(), **dict(enumerate(layers))}
        hooks = [part.register_forward_hook(note(name)) for name, part in parts.items()]
        try:
            return step(self, model, *args, **kwargs)
        finally:
            found["checkpointed"] = any(layer.gradient_checkpointing for layer in layers)
            for hook in hooks:
                hook.remove()

    monkeypatch.setattr(TaskTrainer, "training_step", watched)
    return found


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("strategy", ["lora", "qlora"])
@pytest.mark.parametrize("tag", ["text-generation", "text-classification"])
def test_nothing_below_the_first_trained_layer_has_a_history(
    tag: str, strategy: str, recomputed: bool, tmp_path: Path, graph: dict
) -> None:
    checkpointing = f"train.gradient_checkpointing={str(recomputed).lower()}"
    _, facts = train(config_of(tag, tmp_path, f"strategy={strategy}", *OPTIONS, checkpointing))
    assert facts["trainable_parameters"] > 0
    assert graph.pop("checkpointed") is recomputed
    assert graph == {"embeddings": False, 0: False, **dict.fromkeys(range(1, len(graph) - 1), True)}
