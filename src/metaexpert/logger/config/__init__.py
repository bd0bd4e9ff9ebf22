"""The settings of a logger: their model, and the sources that they come from."""
