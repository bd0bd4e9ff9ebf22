"""The operating system: locks, descriptors, the calls beneath them, and the compiled part."""
