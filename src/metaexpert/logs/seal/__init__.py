"""Questions about a sealed trade log: is it as it was, and is this order in it. Reads only; see docs/seal.md."""
