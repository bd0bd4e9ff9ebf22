"""The seal of a logger's trade log: one for all loggers of a directory, each of which announces what it has sealed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.schema import ALERT, CHECKPOINT, SEALED
from metaexpert.logger.seal.sealer import Sealed, Sealer
from metaexpert.logger.seal.timestamps import TimeStamps

#: Longest wait of `close` for a time stamp, in seconds.
_PATIENCE: Final = 5.0


class Sealing:
    """The part of one logger in the seal of its directory.

    Args:
        config: Its configuration.
        directory: Its directory.
        announce: Logs an entry of the logger's own: level, message, and fields as keywords.
    """

    def __init__(self, config: LoggerConfig, directory: LogDirectory, announce: Callable[..., bool]) -> None:
        self._directory = directory
        self._announce = announce
        self._sealer = self._sealer_of(config)
        self._sealer.budget |= config.max_total_size is not None
        self._stamps = None
        if config.seal_timestamp_url is not None:
            self._stamps = TimeStamps(self._sealer.store, config.seal_timestamp_url, self._trouble)

    def _sealer_of(self, config: LoggerConfig) -> Sealer:
        sink: Any = self._directory.files[config.log_trade_file].sink
        if sink.sealer is None:
            from metaexpert.logger.seal.keys import public_of  # noqa: PLC0415

            public_of(bytes(32))  # loads the library here: on the writing thread it would hold up the others
            sink.sealer = Sealer(
                sink.path,
                self._directory.private,
                self._directory.lock,
                epoch=config.seal_epoch,
                backups=config.backup_count,
                anchor=config.seal_anchor,
                on_trouble=self._trouble,
            )
        sealer: Sealer = sink.sealer
        return sealer

    def serve(self) -> bool:
        """Do what is due. Returns whether there is more to do at once."""
        more = self._sealer.serve()
        self._tell()
        if self._stamps is not None:
            self._stamps.serve()
        return more

    def finish(self) -> None:
        """Seal what is not sealed, when the last logger of the directory closes."""
        if self._directory.users == 1:
            self._sealer.finish()
            self._tell()
            if self._stamps is not None:
                self._stamps.wait(_PATIENCE)

    def _tell(self) -> None:
        while (sealed := self._sealer.next_sealed()) is not None:
            self._announce("info", SEALED, **_fields(sealed))
            if sealed.anchor and self._stamps is not None:
                self._stamps.want(sealed.number, sealed.note)

    def _trouble(self, text: str, error: Exception) -> None:
        self._directory.diagnostics.report(f"seal {self._directory.path}", text, level="warning", error=error)


def _fields(sealed: Sealed) -> dict[str, Any]:
    fields = {"seal": sealed.number, "lines": sealed.size, CHECKPOINT: sealed.note}
    return fields | ({ALERT: True} if sealed.anchor else {})
