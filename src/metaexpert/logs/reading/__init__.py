"""From files to records in order: files, snapshot, search with filters, merge by time, dedup, follow; typed times."""
