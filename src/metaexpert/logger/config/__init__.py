"""The settings of a logger: their model, types, sources and errors."""
