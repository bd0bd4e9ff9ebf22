"""What no logger can go below: the call alone, and the bare work of making and keeping one line."""

from __future__ import annotations

import itertools
import mmap
import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from datetime import UTC, datetime
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, ClassVar, Final, override

import orjson

from benchmarks.entry import EXCHANGE, LOGGER, MESSAGE, PRICE, SIDE, SIZE, STRATEGY_ID, SYMBOL, Entry, Rotation
from benchmarks.subjects.base import Subject

_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
#: Maps the pages of a file at once, where the system can; elsewhere they are mapped when first touched.
_POPULATE: Final = getattr(mmap, "MAP_POPULATE", 0)


class _Silent:
    def info(self, event: str, /, **fields: object) -> None:
        """Do nothing."""

    debug = info


class NoOp(Subject):
    """A method that takes the same keywords and does nothing."""

    name = "floor-noop"
    title = "_floor: no-op call_"
    kind = "floor"
    imports = "pass"
    writes = False
    rotates = False

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        self.log = _Silent()

    @override
    def entry(self, number: int, order_id: str) -> None:
        self.log.info(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def disabled(self, number: int, order_id: str) -> None:
        self.log.debug(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def files(self, directory: Path) -> list[Path]:
        return []

    @override
    def experts(self, directory: Path, count: int) -> list[Entry]:
        self.setup(directory, Rotation())
        return [self.entry] * count


class _Floor(Subject):
    kind = "floor"
    packages: ClassVar[tuple[str, ...]] = ("orjson",)

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        self._path = directory / "floor.log"
        self._rotation = rotation
        self._hostname = platform.node()
        self._procid = str(os.getpid())
        self._sequence = itertools.count(1)
        self._open()

    def line(self, number: int, order_id: str) -> bytes:
        """Return one line with every header, context and event field that an entry of ours has."""
        return orjson.dumps(
            {
                "timestamp": datetime.now(UTC),
                "level": "info",
                "severity": 6,
                "facility": 16,
                "version": 1,
                "hostname": self._hostname,
                "appname": "metaexpert",
                "procid": self._procid,
                "msgid": "log",
                "sequence_id": next(self._sequence),
                "message": MESSAGE,
                "logger": LOGGER,
                "expert_name": "metaexpert",
                "symbol": SYMBOL,
                "strategy_id": STRATEGY_ID,
                "exchange": EXCHANGE,
                "order_id": order_id,
                "side": SIDE,
                "size": SIZE,
                "price": PRICE,
                "n": number,
            },
            option=_OPTIONS,
        )

    @override
    def disabled(self, number: int, order_id: str) -> None:
        """Do nothing: a floor has no levels."""

    def _turn(self) -> None:
        """Close the file, make room for a new one and open that."""
        self.close()
        for number in range(self._rotation.backups - 1, 0, -1):
            older = self._backup(number)
            if older.exists():
                older.replace(self._backup(number + 1))
        self._path.replace(self._backup(1))
        self._open()

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> None:
        raise NotImplementedError


class MappedFile(_Floor):
    """A dict of all fields → `orjson.dumps` → `mmap.write`, into a file that was allocated and mapped beforehand."""

    name = "floor-mmap"
    title = "_floor: dict → orjson → mmap.write_"
    imports = "import orjson, mmap"

    @override
    def entry(self, number: int, order_id: str) -> None:
        line = self.line(number, order_id)
        try:
            self._write(line)
        except ValueError:  # the segment is full
            self._turn()
            self._write(line)

    def _open(self) -> None:
        size = self._rotation.max_bytes
        with self._path.open("w+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            shared: dict[str, Any] = {"flags": mmap.MAP_SHARED | _POPULATE} if _POPULATE else {}
            self._map = mmap.mmap(file.fileno(), size, **shared)
        self._write = self._map.write

    @override
    def close(self) -> None:
        if not self._map.closed:
            used = self._map.tell()
            self._map.close()
            os.truncate(self._path, used)


class Extension(MappedFile):
    """The same work by a C extension that knows nothing else: `floor_line.c`, compiled on demand."""

    name = "floor-c"
    title = "_floor: C extension → map_"
    imports = "import mmap"
    packages = ()
    note = "needs a C compiler; no levels, no escapes beyond quotes, no masking"

    @override
    def setup(self, directory: Path, rotation: Rotation) -> None:
        self._extension = _compiled(Path(__file__).with_name("floor_line.c"))
        super().setup(directory, rotation)

    @override
    def entry(self, number: int, order_id: str) -> None:
        try:
            self.log(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)
        except ValueError:  # the map is full
            self._turn()
            self.log(MESSAGE, order_id=order_id, side=SIDE, size=SIZE, price=PRICE, n=number)

    @override
    def _open(self) -> None:
        super()._open()
        line = orjson.loads(self.line(0, ""))
        names = list(line)
        number, message, order = (names.index(name) for name in ("sequence_id", "message", "order_id"))
        head = _inside({name: line[name] for name in names[1:number]}) + b',"sequence_id":'
        context = b"," + _inside({name: line[name] for name in names[message + 1 : order]})
        self.log = self._extension.Line(self._map, b"," + head, context)

    @override
    def close(self) -> None:
        if not self._map.closed:
            used = self.log.used()
            del self.log  # it holds the map
            self._map.close()
            os.truncate(self._path, used)


def _inside(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields)[1:-1]


def _compiled(source: Path) -> Any:
    """Return the extension module of one C file, compiled once per interpreter and text."""
    key = zlib.crc32(source.read_bytes() + sys.version.encode())
    target = Path(tempfile.gettempdir()) / f"{source.stem}-{os.getuid()}-{key:08x}.so"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
        include = f"-I{sysconfig.get_path('include')}"
        command = [*compiler, "-O3", "-shared", "-fPIC", include, str(source), "-o", str(part)]
        subprocess.run(command, check=True)  # noqa: S603 - the compiler that this Python was made with
        part.replace(target)
    loader = ExtensionFileLoader(source.stem, str(target))
    module = module_from_spec(ModuleSpec(source.stem, loader, origin=str(target)))
    loader.exec_module(module)
    return module


class WriteCall(_Floor):
    """A dict of all fields → `orjson.dumps` → `os.write`."""

    name = "floor-write"
    title = "_floor: dict → orjson → os.write_"
    imports = "import orjson, os"

    @override
    def entry(self, number: int, order_id: str) -> None:
        line = self.line(number, order_id)
        self._room -= len(line)
        if self._room < 0:
            self._turn()
            self._room -= len(line)
        os.write(self._descriptor, line)

    def _open(self) -> None:
        self._room = self._rotation.max_bytes
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._path, flags, 0o644)

    @override
    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
