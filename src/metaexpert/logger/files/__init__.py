"""From the journal into the files: the writing thread, rotation, compression, recovery."""
