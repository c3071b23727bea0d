"""Tests of recipes as a whole."""
