"""The runs of experts: one model of a run, computed from its entries."""
