"""The optimisation loop: batches that leave the mathematics alone, sound checkpoints."""
