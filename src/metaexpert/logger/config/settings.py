"""`LoggerConfig`: every setting of a logger, from five sources, valid before anything is opened.

The model is frozen and touches no disk beyond reading ``.env`` and ``pyproject.toml``; validators check values,
never the state of the file system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from metaexpert.logger import schema
from metaexpert.logger.config import locations
from metaexpert.logger.config._remote import ChatId, SecretAddress, SyslogAddress, Token, WebAddress, remote_conflicts
from metaexpert.logger.config.sources import (
    ALIASES,
    CODE_LABEL,
    DEFAULT_LABEL,
    ConfigurationWarning,
    Layer,
    Problem,
    command_line,
    read_layers,
)
from metaexpert.logger.masking.names import words
from metaexpert.logger.masking.registered import MIN_LENGTH, add_secret
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.schema import Layout, LevelName

__all__ = ["ConfigurationError", "ConfigurationWarning", "LoggerConfig", "Problem", "command_line"]

KIB: Final = 1024
MIB: Final = 1024 * KIB
_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmg]?)i?b?", re.IGNORECASE | re.ASCII)
_FACTOR: Final = {"": 1, "k": KIB, "m": MIB, "g": 1024 * MIB}
#: File systems take 255 bytes; a backup's ending must fit in too.
_MAX_FILE_NAME: Final = 200


class ConfigurationError(ValueError):
    """The configuration is wrong. Nothing was opened, created or started.

    Attributes:
        problems: What is wrong, one `Problem` each, in the order of the sources.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in problems))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[list[Problem]]]:
        return type(self), (list(self.problems),)


def read_size(value: object) -> object:
    """Read "10MB" or "10MiB" (both 10 * 1024 * 1024 bytes), "512 KB", "1G" or a number of bytes."""
    if not isinstance(value, str | bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise PydanticCustomError("size", 'should be a size such as 10485760, "512KB", "10MB" or "1GiB"')
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def _level(value: object) -> object:
    """Read a level name in any case, or the number that `logging` gives it."""
    number = schema.level_named(value) if isinstance(value, str) else value
    if isinstance(number, int) and not isinstance(number, bool) and number in schema.LEVEL_WORDS:
        return schema.LEVEL_WORDS[number].upper()
    raise PydanticCustomError("level", "should be DEBUG, INFO, WARNING, ERROR or CRITICAL")


def _directory(value: object) -> object:
    """Accept a path; ``~`` is the home directory, as in a shell, which has no part in code, ``.env`` and TOML."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise PydanticCustomError("directory", 'should be a path such as "logs"')
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise PydanticCustomError("directory", "should not begin with ~: that home directory is not known") from None


def _file_name(value: object) -> object:
    """Accept a bare file name: the directory is `log_dir`'s matter, and some names are taken."""
    if not isinstance(value, str):
        return value
    if not value.strip() or value in (".", "..") or re.search(r'[/\\:*?"<>|\x00-\x1f]', value):
        raise PydanticCustomError("file_name", 'should be a file name such as "expert.log"; log_dir says where')
    if value == schema.DIAGNOSTICS_FILE or value.startswith(schema.PRIVATE_DIRECTORY):
        raise PydanticCustomError("file_name", "should be another name: this one is the logger's own")
    if re.search(r"\.\d+(\.gz)?$|\.gz$", value):
        raise PydanticCustomError("file_name", "should not end like a backup (.1, .gz)")
    if len(os.fsencode(value)) > _MAX_FILE_NAME:
        raise PydanticCustomError("file_name", f"should be at most {_MAX_FILE_NAME} bytes long")
    return value


def _processor_list(value: object) -> object:
    if value is not None and not (isinstance(value, list | tuple) and all(callable(item) for item in value)):
        raise PydanticCustomError("processors", "should be a list of structlog processors, given in code")
    return value


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().strip()) < MIN_LENGTH:
        raise PydanticCustomError(
            "secret", f"should have {MIN_LENGTH} characters or more: it is masked wherever it stands"
        )
    return value


def _secret_key(name: str) -> str:
    if not words(name):
        raise PydanticCustomError("secret_key", 'should be names of fields such as "vault_ref"')
    return name


Size = Annotated[int, BeforeValidator(read_size)]
Level = Annotated[LevelName, BeforeValidator(_level)]
Directory = Annotated[Path, BeforeValidator(_directory)]
FileName = Annotated[str, BeforeValidator(_file_name)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
SecretKey = Annotated[str, AfterValidator(_secret_key)]
Processor = Callable[..., Any]
ProcessorList = Annotated[list[Processor], BeforeValidator(_processor_list)]

_layers: ContextVar[tuple[Layer, ...]] = ContextVar("metaexpert_layers", default=())


class LoggerConfig(BaseSettings):
    """Settings of one logger. Frozen; safe to share between threads.

    Sizes are in bytes (``"10MB"`` and ``"10MiB"`` both mean 10 * 1024 * 1024), times in seconds.

    Raises:
        ConfigurationError: For an unknown name or a bad value in any source; names field, value and source.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

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
    console_format: Literal["text", "json"] = Field("text", description="How the console prints an entry.")
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
    overflow: Literal["drop_low", "block"] = Field("drop_low", description="What a call does when that is full.")
    overflow_timeout: float = Field(5.0, ge=0, le=3600, description="Longest wait of a call with block, in seconds.")
    fsync: Literal["never", "interval", "trades"] = Field("never", description="When files are forced to disk.")
    capture_stdlib: bool = Field(True, description="Take in the records of logging.")
    capture_warnings: bool = Field(True, description="Take in the warnings of warnings.")
    processors: ProcessorList | None = Field(None, description="Own structlog processors, run on each entry.")
    alert_level: Level = Field("CRITICAL", description="Lowest level that is sent as an alert.")
    alert_heartbeat: bool = Field(False, description="Tell the channels of start, stop and sudden death.")
    telegram_token: Token | None = Field(None, description="Token of a Telegram bot.")
    telegram_chat_id: ChatId | None = Field(None, description="Telegram chat that gets the alerts.")
    telegram_api_url: WebAddress = Field("https://api.telegram.org", description="Address of the Bot API.")
    discord_webhook_url: SecretAddress | None = Field(None, description="Discord webhook that gets the alerts.")
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

    def __init__(
        self, *, _preset: Mapping[str, Any] = MappingProxyType({}), _preset_name: str = "", **options: Any
    ) -> None:
        layers = read_layers(type(self), options, preset=_preset, preset_name=_preset_name)
        problems = [problem for layer in layers for problem in layer.problems]
        sources = _provenance(layers)
        token = _layers.set(tuple(layers))
        try:
            super().__init__()
        except ValidationError as error:
            problems += _explained(error, layers, sources)
        finally:
            _layers.reset(token)
        if problems:
            raise ConfigurationError(problems) from None
        self._sources = {field: sources.get(field, DEFAULT_LABEL) for field in type(self).model_fields}
        self.register_secrets()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace the sources of pydantic-settings by our own layers, which know where a value stands."""
        return _layers.get()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.log_to_file or self.log_to_console):
            raise _conflict("log_to_console", "at least one of log_to_file and log_to_console must be on")
        names: dict[str, str] = {}
        for field in ("log_file", "log_trade_file", "log_error_file"):
            # Two names that differ in case only are one file on Windows and macOS.
            other = names.setdefault(str(getattr(self, field)).casefold(), field)
            if other != field:
                raise _conflict(field, f"{getattr(self, field)!r} is the name of {other} too; they need two files")
        for field, text in remote_conflicts(self):
            raise _conflict(field, text)
        if self.max_total_size is not None and self.max_total_size < self.max_file_size:
            text = f"{self.max_total_size} bytes should be at least max_file_size, {self.max_file_size} bytes"
            raise _conflict("max_total_size", text)
        return self

    @property
    def sources(self) -> Mapping[str, str]:
        """Where each field got its value, such as ``"default"`` or ``"environment METAEXPERT_LOG_LEVEL"``."""
        return MappingProxyType(self._sources)

    def register_secrets(self) -> None:
        """Have each SecretStr of this configuration masked in whatever this process logs.

        Done when it is made; needed again in a process that got it by pickle.
        """
        for field in type(self).model_fields:
            value = getattr(self, field)
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, SecretStr):
                    add_secret(item)

    def shown(self) -> dict[str, Any]:
        """Return every value as JSON would hold it; secrets as ``***``."""
        return {field: _showable(getattr(self, field)) for field in type(self).model_fields}

    def but(self, **options: Any) -> LoggerConfig:
        """Return a copy with *options* (validated) in place of its values; a command line still wins."""
        replaced = {ALIASES.get(name, name) for name in options}
        kept = {f: getattr(self, f) for f in type(self).model_fields if f not in replaced and self._is_set(f)}
        new = type(self)(**kept, **options)
        new._sources.update({f: self._sources[f] for f in kept if new._sources[f] == CODE_LABEL})
        return new

    def _is_set(self, field: str) -> bool:
        # console_level follows log_level until somebody sets it.
        return field != "console_level" or self._sources[field] != DEFAULT_LABEL

    @classmethod
    def for_development(cls, **options: Any) -> Self:
        """DEBUG, colour on the console. Environment and files may still change each value."""
        return cls(_preset={"log_level": "DEBUG"}, _preset_name="for_development", **options)

    @classmethod
    def for_production(cls, **options: Any) -> Self:
        """INFO, JSON on the console (for a collector), compressed backups."""
        preset = {
            "log_level": "INFO",
            "console_format": "json",
            "json_logging": True,
            "compress_backups": True,
        }
        return cls(_preset=preset, _preset_name="for_production", **options)

    @classmethod
    def for_backtesting(cls, **options: Any) -> Self:
        """INFO, no console, and a call that waits rather than drops: a backtest outruns any disk."""
        preset = {"log_level": "INFO", "log_to_console": False, "overflow": "block"}
        return cls(_preset=preset, _preset_name="for_backtesting", **options)


def _conflict(field: str, message: str) -> PydanticCustomError:
    # Braces would be taken for placeholders by PydanticCustomError.
    return PydanticCustomError("conflict", "{text}", {"text": message, "field": field})


def _provenance(layers: list[Layer]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for layer in reversed(layers):
        sources.update(layer.labels)
    return sources


def _explained(error: ValidationError, layers: list[Layer], sources: Mapping[str, str]) -> list[Problem]:
    details = error.errors(include_url=False)
    # A field whose default depends on a wrong one is not wrong itself.
    found = [_problem(d, layers, sources) for d in details if d["type"] != "default_factory_not_called"]
    return list({problem.field: problem for problem in reversed(found)}.values())[::-1]  # of a list the first wrong one


def _problem(detail: ErrorDetails, layers: list[Layer], sources: Mapping[str, str]) -> Problem:
    if detail["type"] == "conflict":
        field = str(detail["ctx"]["field"])
        source = sources.get(field, DEFAULT_LABEL)
        return Problem(field, source, f"{field}: {detail['ctx']['text']} ({source})")
    field = str(detail["loc"][0])
    source = sources.get(field, DEFAULT_LABEL)
    value = next((layer.values[field] for layer in layers if field in layer.values), None)
    wanted = detail["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return Problem(field, source, f"{field}: {_quoted(field, value)} {wanted} ({source})")


def _quoted(field: str, value: object) -> str:
    if "Secret" in str(LoggerConfig.model_fields[field].annotation):
        return "the value (not shown)"
    try:
        text = mask_text(repr(value))
    except Exception:  # an object's own matter, or an integer that has more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}…"


def _showable(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, list):
        return [_showable(item) for item in value]
    if isinstance(value, Path | str):
        return mask_text(str(value))
    return getattr(value, "__name__", type(value).__name__) if callable(value) else value
