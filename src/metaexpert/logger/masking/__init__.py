"""Which parts of an entry are secret, by registered value, by name and by shape."""
