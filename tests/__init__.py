"""The tests: they mirror the package, plus what holds for the house as a whole."""
