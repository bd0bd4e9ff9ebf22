"""Test the compiled core with the compiler's help: warnings are errors, and it runs under ASan and UBSan.

    python -m uv run python tools/sanitize_core.py

Compiles it twice, into a temporary copy of the package: once as it is shipped, with all warnings as errors, and once
with AddressSanitizer and UndefinedBehaviorSanitizer. With the second, the tests run that compare the core with the
Python functions that it stands for. Exits with what pytest returns, with 1 for a warning, and with 0, saying why, where
there is no compiler or no AddressSanitizer. Memory is not searched for leaks: Python itself leaves objects behind when
it ends, and a test of its own counts references.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
CORE: Final = "metaexpert/logger/system/_core"
TESTS: Final = (
    "tests/unit/test_logger/test_append.py",
    "tests/unit/test_logger/test_passes.py",
    "tests/unit/test_logger/test_core.py",
    "tests/unit/test_logger/test_calls.py",
    "tests/unit/test_logger/test_fast.py",
    "tests/integration/test_logger/test_fuzz_calls.py",
    "tests/unit/test_logs/test_logs_select.py",
    "tests/unit/test_logs/test_logs_tally.py",
    "tests/unit/test_logs/test_logs_verify_core.py",
)
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
SANITIZERS: Final = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover")


def compiler() -> list[str]:
    """Return the command of the compiler that this Python was made with."""
    return shlex.split(sysconfig.get_config_var("CC") or "cc")


def compile_core(target: Path, *options: str) -> bool:
    """Compile the core into *target*. Returns whether that succeeded; the compiler says why not."""
    sources = sorted(map(str, (ROOT / "src" / CORE).with_name("core").glob("*.c")))
    include = f"-I{sysconfig.get_path('include')}"
    command = [*compiler(), "-shared", "-fPIC", include, *options, *sources, "-o", str(target)]
    return subprocess.run(command, check=False).returncode == 0


def runtime() -> Path | None:
    """Return AddressSanitizer's library, which has to be loaded before any other; None where there is none."""
    command = [*compiler(), "-print-file-name=libasan.so"]
    found = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    return found.resolve() if found.is_absolute() else None  # a name alone: it is not there


def test(package: Path, library: Path) -> int:
    """Run the tests with the package in the folder *package*. Returns the exit code."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "LD_PRELOAD": str(library),
        "PYTHONMALLOC": "malloc",  # the sanitizer does not see into Python's own pools
        # Python itself is not instrumented: freed memory that it would read is filled, so that it cannot go on.
        "ASAN_OPTIONS": "detect_leaks=0:max_free_fill_size=4096",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "METAEXPERT_FUZZ_EXAMPLES": "100",
    }
    code = "import sys; from metaexpert.logger.system.native import core; sys.exit(core.__file__ != sys.argv[1])"
    module = str(package / CORE) + sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.run([sys.executable, "-c", code, module], check=True, env=environment)
    # pytest must leave the descriptor of standard error to the sanitizers, and a crash too.
    options = ("-q", "--capture=sys", "-p", "no:faulthandler", "--timeout=300")
    command = [sys.executable, "-m", "pytest", *options, *TESTS]
    return subprocess.run(command, check=False, env=environment, cwd=ROOT).returncode


def main() -> int:
    """Compile and test. Returns the exit code."""
    if shutil.which(compiler()[0]) is None:
        print(f"SKIPPED: there is no compiler {compiler()[0]}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch)
        shutil.copytree(ROOT / "src", package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        module = package / (CORE + sysconfig.get_config_var("EXT_SUFFIX"))
        if not compile_core(module, "-O3", *WARNINGS):
            return 1
        library = runtime()
        if library is None or not compile_core(module, *SANITIZERS):
            print("SKIPPED: there is no AddressSanitizer")
            return 0
        return test(package, library)


if __name__ == "__main__":
    sys.exit(main())
