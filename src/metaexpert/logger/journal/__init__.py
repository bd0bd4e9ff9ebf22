"""The crash-safe buffer between a call and its files."""
