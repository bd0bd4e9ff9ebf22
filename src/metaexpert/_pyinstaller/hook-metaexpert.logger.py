"""The modules that the logger imports by a name in a string, the compiled core among them: PyInstaller sees none."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = [*collect_submodules("metaexpert.logger"), *collect_submodules("structlog")]
