"""Sinks: what an entry ends in. Each passes the contract of `base`."""
