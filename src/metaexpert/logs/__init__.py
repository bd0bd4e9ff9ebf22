"""The reader: what a directory of log files tells, whoever wrote it and whether they still run.

    from metaexpert.logs import open_logs

    for record in open_logs("logs", level="WARNING"):
        print(record.time, record.text)

It never writes, never locks and never attaches a logger, so it works beside a running expert and on what a dead
one left. Of the logger package it uses `schema` alone.
"""

from metaexpert.logs.entry import Entry, Record, Unparsed
from metaexpert.logs.files import Counts
from metaexpert.logs.library import Logs, level_number, open_logs

__all__ = ["Counts", "Entry", "Logs", "Record", "Unparsed", "level_number", "open_logs"]
