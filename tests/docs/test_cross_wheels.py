"""Wheels for other systems: names, records, and the look into a module."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import cross_wheels
import pytest
from cross_wheels import PYTHON, TARGETS

WINDOWS, LINUX, MUSL = TARGETS["windows"], TARGETS["linux-x86_64"], TARGETS["musl-aarch64"]
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00"


@pytest.mark.parametrize(("target", "machine"), [(LINUX, b"\x3e\x00"), (MUSL, b"\xb7\x00")])
def test_a_module_is_looked_into(tmp_path: Path, target: cross_wheels.Target, machine: bytes) -> None:
    """Format and machine, the name that Python asks for, and the oldest C library."""
    module = tmp_path / "module"
    for data, told in [
        (ELF + machine + b"PyInit__core\0GLIBC_2.17\0", ""),
        (ELF + machine, "it does not export PyInit__core"),
        (ELF + machine + b"PyInit__core\0GLIBC_2.17\0GLIBC_2.34\0", "it needs glibc (2, 34)"),
        (ELF + b"\x28\x00PyInit__core", "it begins with"),
        (b"MZ PyInit__core", "it begins with"),
    ]:
        module.write_bytes(data)
        assert cross_wheels.problem(target, module).startswith(told)
        assert bool(cross_wheels.problem(target, module)) == bool(told)


def test_a_wheel_gets_the_module_its_tag_and_a_true_record(tmp_path: Path) -> None:
    """All else is as in the pure wheel."""
    pure = tmp_path / "metaexpert-1-py3-none-any.whl"
    about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(pure, "w") as archive:
        archive.writestr("metaexpert/__init__.py", "x = 1\n")
        archive.writestr("metaexpert-1.dist-info/WHEEL", about)
        archive.writestr("metaexpert-1.dist-info/RECORD", "old")
    module = tmp_path / "module"
    module.write_bytes(b"MZ")
    (tmp_path / "out").mkdir()
    wheel = cross_wheels.make_wheel(pure, WINDOWS, module, tmp_path / "out")
    assert wheel.name == f"metaexpert-1-{PYTHON}-{PYTHON}-win_amd64.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert files[f"metaexpert/logger/system/_core.{PYTHON}-win_amd64.pyd"] == b"MZ"
    assert f"Tag: {PYTHON}-{PYTHON}-win_amd64".encode() in files["metaexpert-1.dist-info/WHEEL"]
    assert b"Root-Is-Purelib: false" in files["metaexpert-1.dist-info/WHEEL"]
    rows = [line.split(",") for line in files.pop("metaexpert-1.dist-info/RECORD").decode().splitlines()]
    assert rows.pop() == ["metaexpert-1.dist-info/RECORD", "", ""]
    for name, digest, size in rows:
        right = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={right}", len(files.pop(name)))
    assert files == {}
