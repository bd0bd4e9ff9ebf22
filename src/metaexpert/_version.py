"""The version, in one place: packaging and `metaexpert --version` read it."""

__version__ = "0.1.0"
