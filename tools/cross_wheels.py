"""Compile the core for systems that are not this one, and make a wheel for each of them.

    python -m uv run python tools/cross_wheels.py DIRECTORY [NAME…]

Without names, all in `TARGETS` that ziglang (PyPI) can compile. That for Windows is made by `tools/wine.py`,
with Debian's mingw-w64. The wheels are for the Python that runs this. Each is looked into: its format, its machine, the
name that it exports, and the C library that it asks for. Warnings of the compilers are errors.

They show that the code is portable; the wheels that are published come from cibuildwheel. Prints a line for each, and
exits with 1 if one cannot be made as it should be.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
MODULE: Final = "metaexpert/logger/system/_core"
SOURCES: Final = ROOT / "src" / "metaexpert/logger/system/core"
PYTHON: Final = f"cp{sys.version_info.major}{sys.version_info.minor}"
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
#: What mingw-w64 is told so that it uses the C library of CPython, the universal C runtime, and no other.
UCRT: Final = ("-D_UCRT", "-D__MSVCRT_VERSION__=0xE00")
LIBRARIES: Final = ("-nodefaultlibs", "-lmingw32", "-lmoldname", "-lmingwex", "-lgcc", "-lucrt", "-lkernel32")
#: In place of CPython's `PC/pyconfig.h`, which its headers on other systems lack: the sizes of 64-bit Windows.
PYCONFIG: Final = """
#define MS_WIN32
#define MS_WIN64
#define MS_WINDOWS
#define NT_THREADS
#define Py_ENABLE_SHARED
#define HAVE_DECLSPEC_DLL
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define SIZEOF_PID_T 4
#define SIZEOF_DOUBLE 8
#define ALIGNOF_SIZE_T 8
#define ALIGNOF_MAX_ALIGN_T 8
"""


class Target(NamedTuple):
    """A system: its tag on wheels, the suffix of its modules, ziglang's name for it, and how its modules begin."""

    tag: str
    suffix: str
    zig: str
    magic: bytes


_ELF_X86, _ELF_ARM = (b"\x7fELF\x02\x01\x01.{11}" + machine + b"\x00" for machine in (b"\x3e", b"\xb7"))
_MACH_O: Final = b"\xcf\xfa\xed\xfe"
TARGETS: Final = {
    "linux-x86_64": Target("manylinux_2_17_x86_64", "x86_64-linux-gnu.so", "x86_64-linux-gnu.2.17", _ELF_X86),
    "linux-aarch64": Target("manylinux_2_17_aarch64", "aarch64-linux-gnu.so", "aarch64-linux-gnu.2.17", _ELF_ARM),
    "musl-x86_64": Target("musllinux_1_2_x86_64", "x86_64-linux-musl.so", "x86_64-linux-musl", _ELF_X86),
    "musl-aarch64": Target("musllinux_1_2_aarch64", "aarch64-linux-musl.so", "aarch64-linux-musl", _ELF_ARM),
    "macos-x86_64": Target("macosx_11_0_x86_64", "darwin.so", "x86_64-macos.11.0", _MACH_O + b"\x07\x00\x00\x01"),
    "macos-arm64": Target("macosx_11_0_arm64", "darwin.so", "aarch64-macos.11.0", _MACH_O + b"\x0c\x00\x00\x01"),
    "windows": Target("win_amd64", "", "", b"MZ"),
}


def module_name(target: Target) -> str:
    """Return the file name of the module on *target*."""
    version = PYTHON[2:]
    return f"_core.{PYTHON}-win_amd64.pyd" if not target.zig else f"_core.cpython-{version}-{target.suffix}"


def compile_core(target: Target, module: Path, windows_python: Path | None = None) -> None:
    """Compile the core for *target* into *module*.

    Args:
        target: The system.
        module: The file to make.
        windows_python: The folder of a Python for Windows, whose library the module is linked with.

    Raises:
        CalledProcessError: The compiler does not succeed.
    """
    sources = sorted(map(str, SOURCES.glob("*.c")))
    options = ["-shared", "-O3", "-g0", *WARNINGS]
    headers = Path(sysconfig.get_path("include"))
    if target.zig:
        where = ["-undefined", "dynamic_lookup"] if "macos" in target.zig else []
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", target.zig, "-fPIC", *where]
        subprocess.run([*zig, *options, f"-I{headers}", *sources, "-o", str(module)], check=True)
        return
    if windows_python is None:
        raise ValueError("a module for Windows needs a Python for Windows")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(headers, scratch, dirs_exist_ok=True)
        Path(scratch, "pyconfig.h").write_text(PYCONFIG, "ascii")
        library = windows_python / f"python{PYTHON[2:]}.dll"
        command = ["x86_64-w64-mingw32-gcc", *UCRT, *options, f"-I{scratch}", *sources, str(library), "-o", str(module)]
        subprocess.run([*command, *LIBRARIES], check=True)


def problem(target: Target, module: Path) -> str:
    """Return why *module* is none for *target*, or ``""``."""
    data = module.read_bytes()
    if not re.match(target.magic, data, re.DOTALL):
        return f"it begins with {data[:20]!r}"
    if b"PyInit__core" not in data:
        return "it does not export PyInit__core"
    newest = max((tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(2\.\d+)\x00", data)), default=())
    if newest > (2, 17):
        return f"it needs glibc {newest}"
    return ""


def make_wheel(pure: Path, target: Target, module: Path, directory: Path) -> Path:
    """Make the wheel of *target* from the *pure* one, with *module* in it. Returns its path in *directory*."""
    tag = f"{PYTHON}-{PYTHON}-{target.tag}"
    wheel = directory / pure.name.replace("py3-none-any", tag)
    with zipfile.ZipFile(pure) as old, zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        files = {name: old.read(name) for name in old.namelist()}
        record = next(name for name in files if name.endswith(".dist-info/RECORD"))
        about = record.replace("RECORD", "WHEEL")
        text = files[about].decode().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
        files[about] = text.replace("Tag: py3-none-any", f"Tag: {tag}").encode()
        files[f"{MODULE.rpartition('/')[0]}/{module_name(target)}"] = module.read_bytes()
        del files[record]
        lines = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
        files[record] = "".join([*lines, f"{record},,\n"]).encode()
        for name, data in files.items():
            new.writestr(name, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def pure_wheel(directory: Path) -> Path:
    """Build the pure wheel into *directory*. Returns its path."""
    environment = {**os.environ, "METAEXPERT_PURE_PYTHON": "1"}
    uv = os.environ.get("UV", "uv")  # `uv run` says where it is
    command = [uv, "build", "-q", "--wheel", "--out-dir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, env=environment)
    return next(directory.glob("*-py3-none-any.whl"))


def main(arguments: list[str]) -> int:
    """Make the wheels into the directory that is the first of *arguments*. Returns the exit code."""
    directory, *names = arguments
    out = Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    pure = pure_wheel(out)
    failed = False
    for name in names or [name for name in TARGETS if name != "windows"]:
        target = TARGETS[name]
        module = out / module_name(target)
        try:
            compile_core(target, module)
            wrong = problem(target, module)
        except subprocess.CalledProcessError as error:
            wrong = f"the compiler ended with {error.returncode}"
        failed = failed or bool(wrong)
        print(f"{name}: {wrong or make_wheel(pure, target, module, out).name}", flush=True)
        module.unlink(missing_ok=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
