"""Everything that leaves the machine: a queue, a spool on disk and a thread for each endpoint."""
