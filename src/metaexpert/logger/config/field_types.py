"""Types of the settings: each reads and checks one kind of value, without a look at the disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, LiteralString

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from metaexpert.logger import schema
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking.names import words
from metaexpert.logger.masking.registered import MIN_LENGTH
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.schema import LevelName

KIB: Final = 1024
MIB: Final = 1024 * KIB
_SIZE: Final = lazy_pattern(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmg]?)i?b?", re.IGNORECASE | re.ASCII)
_FACTOR: Final = {"": 1, "k": KIB, "m": MIB, "g": 1024 * MIB}
_NUMBER: Final = lazy_pattern(r"\s*(\d{1,9})\s*", re.ASCII)
#: Words of other loggers for a level above all: only CRITICAL is left.
_OFF: Final = frozenset({"off", "silent"})
#: Bytes of a file name. File systems allow 255, and the ending of a backup must fit in too.
_MAX_FILE_NAME: Final = 200
#: Characters of a logger's name that a message about its level shows.
_LONGEST_TOLD: Final = 50


def read_size(value: object) -> object:
    """Read "10MB" or "10MiB" (both are 10 * 1024 * 1024 bytes), "512 KB", "1G", or a number of bytes."""
    if not isinstance(value, str | bool):
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise PydanticCustomError("size", 'should be a size such as 10485760, "512KB", "10MB" or "1GiB"')
    return int(float(match[1]) * _FACTOR[match[2].lower()])


def _level(value: object) -> object:
    """Read a level by its name in any case, or by its number in `logging`: 25 is INFO, as in a call."""
    number: object = value
    if isinstance(value, str):
        digits = _NUMBER.fullmatch(value)
        off = value.strip().lower() in _OFF
        number = int(digits[1]) if digits else schema.CRITICAL if off else schema.level_named(value)
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return schema.level_word(number).upper()
    raise PydanticCustomError("level", "should be DEBUG, INFO, WARNING, ERROR or CRITICAL")


def _stream(value: object) -> object:
    """Take the word for a standard stream, or an object that can print: with `write`, or a function that is one."""
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("stderr", "stdout"):
        return word
    if not isinstance(value, str) and (callable(getattr(value, "write", None)) or callable(value)):
        return value
    raise PydanticCustomError("stream", "should be stderr, stdout, or an object with a method write (in code)")


def _levels(value: object) -> object:
    """Read levels by the names of loggers: a dict, JSON, or a text such as "strategy=DEBUG,feed=WARNING"."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("{") else _pairs(value)
        except (ValueError, RecursionError):
            raise _wrong_levels("it is not JSON") from None
    if not isinstance(value, Mapping):
        raise _wrong_levels("it is no dict")
    levels = {}
    for name, level in value.items():
        if not isinstance(name, str) or not name:
            raise _wrong_levels("it has a key that is no name of a logger")
        try:
            levels[name] = _level(level)
        except PydanticCustomError:
            raise _wrong_levels(f"that of {repr(name[:_LONGEST_TOLD])[:_LONGEST_TOLD]} is none") from None
    return levels


def _pairs(text: str) -> dict[str, str]:
    parts = (re.split(r"\s*[=:]\s*", part.strip(), maxsplit=1) for part in text.split(",") if part.strip())
    return {part[0]: part[-1] if len(part) > 1 else "" for part in parts}


def _wrong_levels(why: str) -> PydanticCustomError:
    wanted = 'should be levels by names, such as {"strategy": "DEBUG"}'
    return PydanticCustomError("levels", "{text}", {"text": f"{wanted}; {mask_text(why)}"})


def _directory(value: object) -> object:
    """Read a path, in which ``~`` is the home directory. No shell replaces it in code, ``.env`` and TOML."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value or not _encodable(value):
        raise PydanticCustomError("directory", 'should be a path such as "logs"')
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise PydanticCustomError("directory", "should not begin with ~: that home directory is not known") from None


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _file_name(value: object) -> object:
    """Accept a file name without a directory, which `log_dir` sets, and none of the logger's own files."""
    if isinstance(value, str) and (problem := file_name_problem(value)):
        raise PydanticCustomError("file_name", problem)
    return value


def file_name_problem(name: str) -> LiteralString | None:
    """Return why a log file may not have this *name*; None when it may."""
    if not name.strip() or name in (".", "..") or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
        return 'should be a file name such as "expert.log"; log_dir says where'
    own = name == schema.DIAGNOSTICS_FILE or schema.is_recorder_file(name)
    if own or name.startswith(schema.PRIVATE_DIRECTORY):
        return "should be another name: this one is the logger's own"
    if re.search(r"\.\d+(\.gz)?$|\.gz$", name):
        return "should not end like a backup (.1, .gz)"
    if len(name.encode("utf-8", "surrogateescape")) > _MAX_FILE_NAME:
        return f"should be at most {_MAX_FILE_NAME} bytes long"
    return None


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
#: ``stderr``, ``stdout``, or an object with a method ``write``.
Stream = Annotated[Any, BeforeValidator(_stream)]
Levels = Annotated[dict[str, LevelName], BeforeValidator(_levels)]
Directory = Annotated[Path, BeforeValidator(_directory)]
FileName = Annotated[str, BeforeValidator(_file_name)]
Secret = Annotated[SecretStr, AfterValidator(_secret)]
SecretKey = Annotated[str, AfterValidator(_secret_key)]
Processor = Callable[..., Any]
ProcessorList = Annotated[list[Processor], BeforeValidator(_processor_list)]
