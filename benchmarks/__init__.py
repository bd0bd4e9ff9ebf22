"""The benchmark: this library, its peers and the floors under them, side by side in one run.

    python -m uv run --group bench python -m benchmarks --quick

See ``benchmarks/README.md`` for what is measured and how to read it.
"""
