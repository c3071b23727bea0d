"""Tests of the optimisation loop."""
