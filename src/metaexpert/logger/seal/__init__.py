"""A log whose changes show: a Merkle tree over the lines of the trade log, sealed with keys that are forgotten.

The format, the keys and the limits are in docs/seal.md. `tree`, `note`, `keys` and `proof` are pure; the reader shares
them. `sealer` belongs to the writer.
"""
