"""The version, apart from the package's own module, which imports the whole API."""

__version__ = "0.1.0"
