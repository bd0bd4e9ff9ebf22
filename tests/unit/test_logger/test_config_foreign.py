"""Settings and files that are meant for other programs, or that cannot be read: a warning, and the logger starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from rights import ordinary_rights

from metaexpert.cli.app import execute
from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger
from metaexpert.logger.config.settings import ConfigurationWarning

OURS = "[tool.metaexpert.logger]\nlog_level = 'ERROR'\n"


def config() -> tuple[LoggerConfig, list[str]]:
    """Return the configuration of this moment, and the warnings that it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = LoggerConfig()
    assert {warning.category for warning in caught} <= {ConfigurationWarning}
    return found, [str(warning.message) for warning in caught]


def loop(path: Path) -> None:
    """Make *path* a link to itself."""
    path.symlink_to(path.name)


def unreadable(path: Path) -> None:
    """Make a file that nobody may read."""
    path.write_text("METAEXPERT_LOG_LEVEL=ERROR\n")
    path.chmod(0)


class TestFiles:
    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
    @pytest.mark.parametrize("name", [".env", "pyproject.toml"])
    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (Path.mkdir, "it is not a regular file"),
            (os.mkfifo, "it is not a regular file"),
            (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
            (loop, "symbolic links"),
            (unreadable, "Permission denied"),
            (lambda path: path.write_bytes(b"A=\xff\xfe\x00secret"), "it is not UTF-8 text"),
            (lambda path: path.write_text("# x\n" * 300_000), "it is larger than 1048576 bytes"),
        ],
    )
    def test_that_cannot_be_read_is_warned_about(self, name: str, make: Callable[[Path], object], reason: str) -> None:
        """The logger starts without its settings; the warning names the file and the reason, and quotes nothing."""
        make(Path(name))
        with ordinary_rights():
            found, (text,) = config()
        assert found.log_level == "INFO"
        assert text.startswith(f"{name}: cannot be read: ")
        assert reason in text
        assert "secret" not in text

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self) -> None:
        """Editors on Windows begin a file with one."""
        Path(".env").write_bytes(b"\xef\xbb\xbfMETAEXPERT_LOG_LEVEL=ERROR\n")
        Path("pyproject.toml").write_bytes(b"\xef\xbb\xbf[tool.metaexpert.logger]\nbackup_count = 7\n")
        found, texts = config()
        assert (found.log_level, found.backup_count, texts) == ("ERROR", 7, [])

    def test_a_directory_that_may_not_be_searched(self, tmp_path: Path) -> None:
        """Started by another user's job in a directory that is not its own: a warning for each file, and it logs."""
        here = tmp_path / "home"
        here.mkdir()
        os.chdir(here)
        here.chmod(0)
        try:
            with ordinary_rights(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                logger = MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False)
                logger.info("started")
                assert logger.close(30)
                other = MetaLogger(log_to_console=False, install=False)  # a directory that cannot be made there
                assert other.health.startswith("degraded: Permission denied")
                assert execute(["logs", "stats"]) == 2
                other.close(0)
        finally:
            here.chmod(0o700)
        assert {str(w.message).partition(": ")[0] for w in caught} == {".env", "pyproject.toml"}
        assert "started" in (tmp_path / "logs" / "expert.log").read_text()

    def test_a_directory_above_that_may_not_be_searched(self, tmp_path: Path) -> None:
        """The file beside us is found all the same, although its absolute path leads through that directory."""
        here = tmp_path / "alice" / "bot"
        here.mkdir(parents=True)
        os.chdir(here)
        Path("pyproject.toml").write_text(OURS)
        here.parent.chmod(0)
        try:
            with ordinary_rights():
                assert config()[0].log_level == "ERROR"
        finally:
            here.parent.chmod(0o700)

    @pytest.mark.skipif(os.name == "nt", reason="Windows deletes no directory in use")
    def test_a_directory_that_was_deleted(self, tmp_path: Path) -> None:
        """It holds nothing, and an absolute log directory works."""
        here = tmp_path / "gone"
        here.mkdir()
        os.chdir(here)
        shutil.rmtree(here)
        try:
            found, texts = config()
            with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
                logger.info("started")
        finally:
            os.chdir(tmp_path)
        assert (found.log_level, texts) == ("INFO", [])
        assert "started" in (tmp_path / "logs" / "expert.log").read_text()

    def test_the_command_line_starts_too(self, tmp_path: Path, python: str) -> None:
        """`config show` prints the settings and warns."""
        Path(".env").mkdir()
        done = subprocess.run(
            [python, "-m", "metaexpert", "config", "show"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("warning: .env: cannot be read: ")


class TestBrokenToml:
    @pytest.mark.parametrize(
        "broken",
        [
            "[tool.ruff\nselect = 1\n",
            "<<<<<<< HEAD\n",
            "[project]\nname = my-metaexpert-bot\n",
            "[tool.x]\nlevels = " + "[" * 5000 + "\n",
            "[tool.x]\nbig = " + "9" * 5000 + "\n",
            "[a]\nx = 1\n[a]\nx = 2\n",
        ],
        ids=["header", "merge", "value", "deep", "number", "twice"],
    )
    @pytest.mark.parametrize("place", ["before", "behind"])
    def test_of_another_tool_leaves_our_settings(self, broken: str, place: str) -> None:
        """Our table is in force wherever the error stands; without one of ours the file is only warned about."""
        Path("pyproject.toml").write_text(broken + OURS if place == "before" else f"{OURS}[project]\n{broken}")
        found, (text,) = config()
        assert found.log_level == "ERROR"
        assert text.startswith("pyproject.toml: only [tool.metaexpert.logger] can be read: ")
        Path("pyproject.toml").write_text(broken)
        found, (text,) = config()
        assert found.log_level == "INFO"

    @pytest.mark.parametrize(
        "wrong", ["log_level = DEBUG\n", "log_level = 'INFO'\nlog_level = 'INFO'\n", "secrets = " + "[" * 5000 + "\n"]
    )
    @pytest.mark.parametrize("header", ["[tool.metaexpert.logger]", " [ 'tool' . \"metaexpert\".logger ]"])
    def test_of_ours_is_an_error(self, wrong: str, header: str) -> None:
        """It names the file and the line, also below tables of other tools."""
        Path("pyproject.toml").write_text(f"[project]\nname = 'bot'\n{header}\n{wrong}")
        with pytest.raises(ConfigurationError, match=r"pyproject\.toml: cannot be read") as caught:
            LoggerConfig()
        assert "line" in str(caught.value) or "deep" in str(caught.value) or "recursion" in str(caught.value)


class TestShortNames:
    @pytest.mark.parametrize("where", ["environment", ".env"])
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LOG_LEVEL", "info,hyper=debug"),
            ("LOG_LEVEL", "*:debug"),
            ("LOG_LEVEL", "-1"),
            ("LOG_FILE", "/var/log/app.log"),
            ("LOG_FILE", "logging_errors.log"),
            ("LOG_TO_FILE", "stdout"),
            ("LOG_TO_CONSOLE", "json"),
            ("LOG_DIR", "~nobody-at-all/logs"),
        ],
    )
    def test_of_another_program_are_ignored(
        self, monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: str
    ) -> None:
        """A value that cannot be ours is warned about; the same under the long name is an error."""

        def give(variable: str) -> None:
            if where == ".env":
                Path(".env").write_text(f"{variable}={value}\n")
            else:
                monkeypatch.setenv(variable, value)

        give(name)
        found, (text,) = config()
        assert {setting.source for setting in found.sources().values()} == {"default"}
        assert text.startswith(f"{name.lower()}: ")
        assert f"{name} is ignored" in text
        assert f"({where} {name})" in text
        give(f"METAEXPERT_{name}")
        with pytest.raises(ConfigurationError, match=name.lower()):
            config()

    def test_an_ignored_value_leaves_the_sources_below(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What another program's variable hid counts again."""
        Path(".env").write_text("LOG_LEVEL=LOUD\n")
        Path("pyproject.toml").write_text(OURS)
        monkeypatch.setenv("LOG_LEVEL", "blunt")
        found, texts = config()
        assert (found.log_level, found.sources()["log_level"].source) == ("ERROR", "pyproject.toml")
        assert [text.partition(" should")[0] for text in texts] == ["log_level: 'blunt'", "log_level: 'LOUD'"]

    def test_a_contradiction_is_the_short_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A short name that would only contradict a setting of ours is ignored, and no other short name is."""
        monkeypatch.setenv("LOG_LEVEL", "DEBUG")
        monkeypatch.setenv("LOG_FILE", "errors.log")
        found, (text,) = config()
        assert (found.log_level, found.log_file) == ("DEBUG", "expert.log")
        assert "LOG_FILE is ignored" in text

    def test_nothing_to_write_to_is_no_wish_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """LOG_TO_FILE=false against a preset without a console, or beside LOG_TO_CONSOLE=false, is ignored."""
        monkeypatch.setenv("LOG_TO_FILE", "false")
        with pytest.warns(ConfigurationWarning, match="LOG_TO_FILE is ignored"):
            assert LoggerConfig.for_backtesting().log_to_file is True
        monkeypatch.setenv("LOG_TO_CONSOLE", "0")
        found, (_,) = config()
        assert found.log_to_file or found.log_to_console

    def test_errors_of_ours_stay_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A foreign variable neither hides nor joins an error in code."""
        monkeypatch.setenv("LOG_LEVEL", "LOUD")
        with pytest.raises(ConfigurationError) as caught, pytest.warns(ConfigurationWarning):
            LoggerConfig(backup_count=-1)
        assert [problem.field for problem in caught.value.problems] == ["backup_count"]


class TestLevelsOfOtherLoggers:
    @pytest.mark.parametrize(
        ("given", "level"),
        [
            ("trace", "DEBUG"),
            ("Verbose", "DEBUG"),
            ("NOTICE", "INFO"),
            ("warn", "WARNING"),
            ("Fatal", "CRITICAL"),
            ("silent", "CRITICAL"),
            (" Off ", "CRITICAL"),
            ("0", "DEBUG"),
            ("5", "DEBUG"),
            ("10", "DEBUG"),
            ("25", "INFO"),
            ("30", "WARNING"),
            (" 40 ", "ERROR"),
            ("60", "CRITICAL"),
            ("wArNiNg", "WARNING"),
        ],
    )
    def test_are_understood(self, monkeypatch: pytest.MonkeyPatch, given: str, level: str) -> None:
        """Their words and numbers are the level of ours at or below; `off` is above all but CRITICAL."""
        for name in ("LOG_LEVEL", "METAEXPERT_LOG_LEVEL"):
            monkeypatch.setenv(name, given)
            found, texts = config()
            assert (found.log_level, texts) == (level, [])
            monkeypatch.delenv(name)
        assert LoggerConfig(log_level=given).log_level == level
