"""How entries are found: files and backups, stretches of bytes, filters, the merge by time, following."""
