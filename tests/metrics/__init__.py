"""Tests of `finetune.metrics`."""
