"""The files of one logger: what it asks of its directory, what waits for them, and what they did not take."""

from __future__ import annotations

from collections import Counter

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.counts import by_level
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.files.log_file import LogFile
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.hub._routing import ERRORS, EXPERT, TRADES


def files_of(config: LoggerConfig, directory: LogDirectory) -> list[tuple[int, LogFile]]:
    """Return the files of a logger, each with its bit in the destinations of an entry."""
    if not config.log_to_file:
        return []
    policy = RotationPolicy(config.max_file_size, config.backup_count, config.rotate_when, config.compress_backups)
    names = ((EXPERT, config.log_file), (TRADES, config.log_trade_file), (ERRORS, config.log_error_file))
    durable = config.fsync != "never"
    files = [(bit, directory.file(name, policy, durable=durable)) for bit, name in names]
    directory.syncs |= config.fsync == "interval"
    if config.max_total_size is not None:
        archivist = directory.archivist
        archivist.budget = min(config.max_total_size, archivist.budget or config.max_total_size)
    return files


def waiting_by_level(directory: LogDirectory, appname: bytes, *, durable: bool = False) -> Counter[str]:
    """Return how many entries of *appname* wait, by level; only those on disk if *durable*."""
    return by_level(directory.waiting_lines(durable=durable), appname)


def report_unwritten(directory: LogDirectory, unwritten: int, *, kept: int) -> None:
    """Report, at the end, *unwritten* entries that no file took, of which the journal has *kept*."""
    which = "them" if kept == unwritten else f"{kept} of them"
    fate = f"; the next start brings {which} in from the journal" if kept else ""
    directory.diagnostics.report("close", f"closed with {unwritten} entries that no file took{fate}")
