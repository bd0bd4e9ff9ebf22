"""`LoggerConfig`: the settings of a logger from five sources, validated before anything is opened.

The model is frozen. It reads ``.env`` and ``pyproject.toml``, and nothing else on the disk: validators check values,
not the state of the file system.
"""

# No `from __future__ import annotations`: pydantic would compile each of fifty annotations anew at import.
from collections import ChainMap
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from metaexpert.logger import schema
from metaexpert.logger.config import locations
from metaexpert.logger.config._completion import complete
from metaexpert.logger.config._problems import DEFAULT_LABEL, ConfigurationError, Problem, conflict, explained
from metaexpert.logger.config._remote import (
    ChatId,
    SecretAddress,
    SyslogAddress,
    ThreadId,
    Token,
    WebAddress,
    remote_conflicts,
)
from metaexpert.logger.config.alert_routes import Route, read_routes, route_conflicts, secrets_in
from metaexpert.logger.config.field_types import (
    KIB,
    MIB,
    Directory,
    FileName,
    Level,
    Levels,
    ProcessorList,
    Secret,
    SecretKey,
    Size,
    Stream,
)
from metaexpert.logger.config.sources import (
    ALIASES,
    CODE_LABEL,
    ConfigurationWarning,
    command_line,
    read_layers,
    without_foreign,
)
from metaexpert.logger.masking.registered import add_secret
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.schema import MASK, Layout

__all__ = ["ConfigurationError", "ConfigurationWarning", "LoggerConfig", "Problem", "command_line"]

#: Values in place of the defaults, by preset. Every source wins over them.
_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "for_development": {"log_level": "DEBUG"},
    "for_production": {
        "log_level": "INFO",
        "console_format": "json",
        "json_logging": True,
        "compress_backups": True,
    },
    "for_backtesting": {"log_level": "INFO", "log_to_console": False, "overflow": "block"},
}


AlertRoutes = Annotated[list[Route], BeforeValidator(read_routes)]


class Setting(NamedTuple):
    """A setting as `LoggerConfig.sources` shows it.

    Attributes:
        value: The value as JSON holds it; a secret is ``***``.
        source: Where it comes from, such as ``"default"`` or ``"environment METAEXPERT_LOG_LEVEL"``.
    """

    value: Any
    source: str


class LoggerConfig(BaseModel):
    """Settings of one logger. Frozen; safe to share between threads.

    Sizes are in bytes (``"10MB"`` and ``"10MiB"`` both mean 10 * 1024 * 1024), times in seconds.

    Raises:
        ConfigurationError: For an unknown name or a bad value in any source; names field, value and source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    expert_name: str = Field("metaexpert", min_length=1, description="Name of the expert; RFC 5424 APP-NAME.")
    log_level: Level = Field("INFO", description="Lowest level that reaches expert.log.")
    log_dir: Directory = Field(
        Path(locations.DEFAULT_DIRECTORY), description="Directory of the files; created when missing."
    )
    log_file: FileName = Field("expert.log", description="File of everything at or above log_level.")
    log_trade_file: FileName = Field("trades.log", description="File of the entries with category trade.")
    log_error_file: FileName = Field("errors.log", description="File of ERROR and CRITICAL.")
    log_to_file: bool = Field(True, description="Write the files.")
    log_to_console: bool = Field(True, description="Print entries on stderr.")
    console_level: Level = Field(
        default_factory=lambda data: data.get("log_level", "INFO"),
        description="Lowest level that reaches the console; log_level unless set.",
    )
    levels: Levels = Field({}, description="Levels by logger, such as feed=ERROR (commas).")
    console_format: Literal["text", "json"] = Field("text", description="How the console prints an entry.")
    stream: Stream = Field("stderr", description="Where the console prints: stderr or stdout.")
    json_logging: bool = Field(False, description="Print JSON on the console too (alias structured_logging).")
    layout: Layout = Field("flat", description="Shape of a JSON line.")
    async_logging: bool = Field(True, description="Write on a thread; false: written when the call returns.")
    max_file_size: Size = Field(10 * MIB, ge=1, description="Rotate before a file grows beyond this.")
    backup_count: int = Field(5, ge=0, le=9999, description="Backups kept per file; 0 never rotates.")
    rotate_when: Literal["midnight", "hourly"] | None = Field(None, description="Also rotate at this UTC time.")
    compress_backups: bool = Field(False, description="Compress backups with gzip, in the background.")
    max_total_size: Size | None = Field(None, ge=1, description="Budget for all files of log_dir.")
    max_value_length: Size = Field(64 * KIB, ge=16, description="Longest text of one value, in characters.")
    max_entry_size: Size = Field(256 * KIB, ge=2 * KIB, description="Longest line.")
    mask_secrets: bool = Field(True, description="Mask what secret names and shapes give away.")
    secrets: list[Secret] = Field([], description="Values that are masked wherever they stand.")
    extra_secret_keys: list[SecretKey] = Field([], description="More names of fields that are secret.")
    journal_size: Size = Field(8 * MIB, ge=4 * KIB, description="Most that may wait to be written.")
    recorder: Size | None = Field(None, ge=64 * KIB, description="Keep so much of what is below log_level for a crash.")
    seal: bool = Field(False, description="Keep a log of the trade log whose changes show.")
    seal_epoch: float = Field(900.0, ge=1, le=86400, description="Seconds between two seals.")
    seal_anchor: Literal["daily", "epoch"] = Field("daily", description="How often a seal is sent to witnesses.")
    seal_timestamp_url: WebAddress | None = Field(None, description="Time stamping server of seals (RFC 3161).")
    overflow: Literal["drop_low", "block"] = Field("drop_low", description="What a call does when that is full.")
    overflow_timeout: float = Field(5.0, ge=0, le=3600, description="Longest wait of a call with block, in seconds.")
    repeat_limit: int | None = Field(None, ge=1, description="Most equal entries a minute; more are counted.")
    repeat_limit_errors: bool = Field(False, description="Limit ERROR and CRITICAL too.")
    repeat_limit_trades: bool = Field(False, description="Limit trades too.")
    fsync: Literal["never", "interval", "trades"] = Field("never", description="When files are forced to disk.")
    capture_stdlib: bool = Field(True, description="Take in the records of logging.")
    capture_warnings: bool = Field(True, description="Take in the warnings of warnings.")
    capture_uncaught: bool = Field(True, description="Log uncaught exceptions of the program, and fatal crashes.")
    processors: ProcessorList | None = Field(None, description="Own structlog processors, run on each entry.")
    alert_level: Level = Field("CRITICAL", description="Lowest level that is sent as an alert.")
    alert_heartbeat: bool = Field(False, description="Tell the channels of start, stop and sudden death.")
    alert_routes: AlertRoutes = Field([], description="Alerts to addresses of their own (JSON).")
    telegram_token: Token | None = Field(None, description="Token of a Telegram bot.")
    telegram_chat_id: ChatId | None = Field(None, description="Telegram chat that gets the alerts.")
    telegram_thread_id: ThreadId | None = Field(None, description="Topic of that chat (message_thread_id).")
    telegram_api_url: WebAddress = Field("https://api.telegram.org", description="Address of the Bot API.")
    discord_webhook_url: SecretAddress | None = Field(None, description="Discord webhook that gets the alerts.")
    discord_thread_id: ThreadId | None = Field(None, description="Thread of its channel (thread_id).")
    webhook_url: SecretAddress | None = Field(None, description="Address that gets the alerts as JSON.")
    webhook_token: Token | None = Field(None, description="Sent to it as Authorization: Bearer.")
    syslog_address: SyslogAddress | None = Field(None, description="Syslog server, such as tls://host:6514.")
    syslog_ca_file: Path | None = Field(None, description="Authorities that vouch for its certificate (PEM).")
    syslog_cert_file: Path | None = Field(None, description="Our certificate for it (PEM).")
    syslog_key_file: Path | None = Field(None, description="Key of our certificate (PEM).")
    otlp_endpoint: WebAddress | None = Field(None, description="OpenTelemetry collector, OTLP over HTTP.")
    trace_ids: bool | None = Field(None, description="Put OpenTelemetry's trace and span ids on entries.")
    metrics: bool = Field(False, description="Keep Prometheus metrics of the logger and of trades.")
    enterprise_id: int = Field(
        schema.DOCUMENTATION_ENTERPRISE,
        ge=1,
        le=2**31 - 1,
        description="IANA enterprise number for RFC 5424.",
    )
    facility: int = Field(schema.FACILITY_LOCAL0, ge=0, le=23, description="RFC 5424 facility (16 is local0).")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, *, _preset: str = "", **options: Any) -> None:
        fields = type(self).model_fields
        layers = read_layers(fields, options, preset=_PRESETS.get(_preset, {}), preset_name=_preset)
        values = ChainMap(*(layer.values for layer in layers))
        sources = ChainMap(*(layer.labels for layer in layers))
        take = super().__init__

        def wrong() -> list[Problem]:
            try:
                take(**values)
            except ValidationError as error:
                return explained(error, fields, values, sources)
            return []

        problems = [problem for layer in layers for problem in layer.problems]
        problems += without_foreign(layers, wrong)
        if problems:
            raise ConfigurationError(problems) from None
        self._sources = {field: sources.get(field, DEFAULT_LABEL) for field in fields}
        self.register_secrets()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.log_to_file or self.log_to_console):
            raise conflict("log_to_console", "at least one of log_to_file and log_to_console must be on")
        names: dict[str, str] = {}
        for field in ("log_file", "log_trade_file", "log_error_file"):
            # On Windows and macOS, names that differ only in case are one file.
            other = names.setdefault(str(getattr(self, field)).casefold(), field)
            if other != field:
                raise conflict(field, f"{getattr(self, field)!r} is the name of {other} too; they need two files")
        for field, text in (*remote_conflicts(self), *route_conflicts(self)):
            raise conflict(field, text)
        if self.max_total_size is not None and self.max_total_size < self.max_file_size:
            text = f"{self.max_total_size} bytes should be at least max_file_size, {self.max_file_size} bytes"
            raise conflict("max_total_size", text)
        return self

    def register_secrets(self) -> None:
        """Register each SecretStr of this configuration, so that this process masks it.

        This is done when a configuration is made, and needed again in a process that received it by pickle.
        """
        for field in type(self).model_fields:
            for secret in secrets_in(getattr(self, field)):
                add_secret(secret)

    def sources(self) -> dict[str, Setting]:
        """Return each setting by its field: the value, with secrets as ``***``, and the source that it came from."""
        labels = self._sources
        return {
            field: Setting(_showable(getattr(self, field)), labels.get(field, DEFAULT_LABEL))
            for field in type(self).model_fields
        }

    def is_default(self, field: str) -> bool:
        """Return whether no source has set *field*."""
        return self._sources.get(field, DEFAULT_LABEL) == DEFAULT_LABEL

    def replace(self, **options: Any) -> "LoggerConfig":
        """Return a copy with *options*, validated, in place of its values. A command line still wins."""
        replaced = {ALIASES.get(name, name) for name in options}
        kept = {f: getattr(self, f) for f in type(self).model_fields if f not in replaced and self._is_set(f)}
        new = type(self)(**kept, **options)
        new._sources.update({f: self._sources[f] for f in kept if new._sources[f] == CODE_LABEL})
        return new

    def _is_set(self, field: str) -> bool:
        # console_level follows log_level until it is set.
        return field != "console_level" or not self.is_default(field)

    @classmethod
    def for_development(cls, **options: Any) -> Self:
        """DEBUG, colour on the console. Environment and files may still change each value."""
        return cls(_preset="for_development", **options)

    @classmethod
    def for_production(cls, **options: Any) -> Self:
        """INFO, JSON on the console (for a collector), compressed backups."""
        return cls(_preset="for_production", **options)

    @classmethod
    def for_backtesting(cls, **options: Any) -> Self:
        """INFO, no console, and calls that wait instead of dropping entries: a backtest outruns any disk."""
        return cls(_preset="for_backtesting", **options)


complete(LoggerConfig)


def _showable(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, list):
        return [_showable(item) for item in value]
    if isinstance(value, dict):
        return {mask_text(name): _showable(item) for name, item in value.items()}
    if isinstance(value, Path | str):
        return mask_text(str(value))
    if value is None or isinstance(value, int | float):
        return value
    return getattr(value, "__name__", type(value).__name__)
