"""Checks an expert's file, loads it as a module, and shows its exceptions without our own stack frames."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

import typer

import metaexpert
from metaexpert.cli import output
from metaexpert.expert import MetaExpert
from metaexpert.logger.masking.rules import mask_text
from metaexpert.trading.bars import BarError


def compile_expert(path: Path) -> CodeType:
    """Return the code of the Python file *path*, without running it.

    Raises:
        InputError: The file cannot be read or does not compile.
    """
    try:
        return compile(path.read_bytes(), os.path.abspath(path), "exec", dont_inherit=True)  # noqa: PTH100
    except FileNotFoundError:
        raise output.InputError(f"there is no expert file {path}") from None
    except OSError as error:
        raise output.InputError(f"{path} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise output.InputError(f"{path}{line} is no valid Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise output.InputError(f"{path} is no valid Python: {error}") from None


def load_expert(path: Path) -> ModuleType:
    """Run the code of *path* as a module and return it. Its directory becomes the first of `sys.path`."""
    module = ModuleType(f"metaexpert_run_{path.stem}")
    module.__file__ = os.path.abspath(path)  # noqa: PTH100 - resolving links would change what the code sees
    code = compile_expert(path)
    sys.path.insert(0, os.path.dirname(module.__file__))  # noqa: PTH120
    sys.modules[module.__name__] = module
    exec(code, module.__dict__)  # noqa: S102 - running the user's program is what this command is for
    return module


def experts_in(module: ModuleType, path: Path) -> list[MetaExpert]:
    """Return the experts that *module* keeps in variables, each once, in the order of the file.

    Raises:
        InputError: There is none.
    """
    found = {id(value): value for value in vars(module).values() if isinstance(value, MetaExpert)}
    if not found:
        raise output.InputError(f'{path} makes no MetaExpert; it needs a line such as: expert = MetaExpert("binance")')
    return list(found.values())


@contextmanager
def own_failures(path: Path) -> Iterator[None]:
    """Show an exception of the expert's code with the user's part of its traceback; exit code 1."""
    try:
        yield
    except (output.InputError, output.PipeClosed, output.OutputError, typer.Exit):
        raise
    except Exception as error:
        if isinstance(error, BarError) and error.path is not None:  # a file, which is input
            raise output.InputError(str(error)) from None
        trace = _trimmed(error.__traceback__, os.path.abspath(path))  # noqa: PTH100
        output.write_error(mask_text("".join(traceback.format_exception(type(error), error, trace))))
        raise typer.Exit(1) from None


def _trimmed(trace: TracebackType | None, file: str) -> TracebackType | None:
    """Drop our own frames above the user's file."""
    ours = os.path.dirname(metaexpert.__file__)  # noqa: PTH120
    foreign = None
    step = trace
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name == file:
            return step
        if foreign is None and not name.startswith(ours):
            foreign = step
        step = step.tb_next
    return foreign or trace
