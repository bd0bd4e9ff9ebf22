"""From other logging systems into a pipeline: records of `logging`, and chains of structlog."""
