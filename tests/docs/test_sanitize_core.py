"""The tool that tests the core with the compiler's help: a warning fails, and a missing compiler is said."""

from __future__ import annotations

import shutil

import pytest
import sanitize_core


def test_no_compiler_is_said(monkeypatch, capsys):
    """Where nothing can be compiled nothing fails, and the reason is printed."""
    monkeypatch.setattr(sanitize_core, "compiler", lambda: ["no-such-compiler"])
    assert sanitize_core.main() == 0
    assert capsys.readouterr().out == "SKIPPED: there is no compiler no-such-compiler\n"


@pytest.mark.skipif(shutil.which(sanitize_core.compiler()[0]) is None, reason="there is no compiler")
@pytest.mark.parametrize(("line", "code"), [("", None), ("int unused;", 1)])
def test_a_warning_is_an_error(line, code, tmp_path, monkeypatch, capfd):
    """The tests run if the compiler has nothing to say; otherwise it tells what, and they do not."""
    folder = (tmp_path / "src" / sanitize_core.CORE).with_name("core")
    folder.mkdir(parents=True)
    (folder / "call.c").write_text(f"int call(void) {{ {line} return 0; }}\n")
    monkeypatch.setattr(sanitize_core, "ROOT", tmp_path)
    monkeypatch.setattr(sanitize_core, "runtime", lambda: None)
    assert sanitize_core.main() == (code or 0)
    told = capfd.readouterr()
    assert ("unused" in told.err, "SKIPPED" in told.out) == (code == 1, code is None)
