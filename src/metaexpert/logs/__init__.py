"""The reader of log directories, of running and of dead experts.

    from metaexpert.logs import open_logs

    for record in open_logs("logs", level="WARNING", since="15m"):
        print(record.time, record.text)

It never writes, never locks and never attaches a logger, so it works beside a running expert and after a crash.
"""

from metaexpert.logs.entry import Entry, Record, Unparsed
from metaexpert.logs.library import Logs, open_logs
from metaexpert.logs.reading.files import Counts
from metaexpert.logs.reading.filters import Criteria, level_number
from metaexpert.logs.reading.times import parse_time

__all__ = ["Counts", "Criteria", "Entry", "Logs", "Record", "Unparsed", "level_number", "open_logs", "parse_time"]
