"""The commands on a sealed trade log: `metaexpert logs seal`, `prove` and `check-proof`."""
