"""Build hook: compile the core where there is a compiler.

Without one, or with ``METAEXPERT_PURE_PYTHON=1``, the package is pure Python: slower, otherwise the same.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext

PURE: Final = "METAEXPERT_PURE_PYTHON"
MODULE: Final = "metaexpert.logger.system._core"
#: Folder of its sources, below which the module does not lie but beside it.
SOURCES: Final = "src/metaexpert/logger/system/core"


class CompileHook(BuildHookInterface[Any]):
    """Puts the compiled module beside its sources, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile for the Python that runs the build; one that cannot do it gets the pure package."""
        if self.target_name != "wheel" or os.environ.get(PURE) == "1":
            return
        try:
            module = compile_core(Path(self.root, SOURCES))
        except Exception as error:  # no compiler, no headers, no permission: setuptools raises anything
            self.app.display_warning(f"nothing is compiled, the package is pure Python: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"/{module.relative_to(self.root).as_posix()}")


def compile_core(folder: Path) -> Path:
    """Compile the C files in *folder* and return the path of the module, beside the folder."""
    options = ["/O2"] if sys.platform == "win32" else ["-O3", "-g0"]
    extension = Extension(MODULE, sorted(map(str, folder.glob("*.c"))), extra_compile_args=options)
    command = build_ext(Distribution({"ext_modules": [extension]}))
    with tempfile.TemporaryDirectory() as scratch:
        command.build_temp = command.build_lib = scratch
        command.ensure_finalized()
        command.run()
        made = Path(command.get_ext_fullpath(MODULE))
        target = folder.with_name(made.name)
        # Under another name first: a process that has the old one mapped must not see it change.
        part = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copyfile(made, part)
        part.replace(target)
    return target
