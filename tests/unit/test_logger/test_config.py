"""Configuration: sources, precedence, provenance, and errors that help."""

from __future__ import annotations

import copy
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from pydantic import ValidationError

from metaexpert.logger import ConfigurationError, ConfigurationWarning, LoggerConfig
from metaexpert.logger.config.settings import command_line

PYPROJECT = "[tool.metaexpert.logger]\n"
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.binary(max_size=5),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["9" * 5000, 10**5000, "{x}", "1e999", "٣MB", "~x", "\0", object(), print]),
)


def wrong(**options: Any) -> str:
    """Return the text of the error that *options* raise."""
    with pytest.raises(ConfigurationError) as caught:
        LoggerConfig(**options)
    return str(caught.value)


class TestDefaults:
    def test_are_those_of_the_contract(self) -> None:
        """Without any source, every field has its documented default."""
        config = LoggerConfig()
        assert (config.expert_name, config.log_level, config.log_dir) == ("metaexpert", "INFO", Path("logs"))
        assert (config.log_file, config.log_trade_file, config.log_error_file) == (
            "expert.log",
            "trades.log",
            "errors.log",
        )
        assert (config.max_file_size, config.backup_count, config.journal_size) == (10 * 2**20, 5, 8 * 2**20)
        assert (config.max_value_length, config.max_entry_size) == (65536, 262144)
        assert (config.overflow, config.overflow_timeout, config.fsync) == ("drop_low", 5.0, "never")
        assert (config.layout, config.console_format, config.json_logging) == ("flat", "text", False)
        assert config.async_logging
        assert config.capture_stdlib
        assert config.capture_warnings
        assert {setting.source for setting in config.sources().values()} == {"default"}

    def test_console_level_follows_log_level(self) -> None:
        """console_level is log_level unless it is set."""
        assert LoggerConfig(log_level="ERROR").console_level == "ERROR"
        assert LoggerConfig(log_level="ERROR", console_level="DEBUG").console_level == "DEBUG"


class TestPrecedence:
    def test_each_source_beats_those_below_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same field in all sources, removed one by one from the top, shows the order."""
        Path("pyproject.toml").write_text(PYPROJECT + 'log_level = "CRITICAL"\n')
        Path(".env").write_text("METAEXPERT_LOG_LEVEL=ERROR\n")
        monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "WARNING")
        with command_line({"log_level": "DEBUG"}):
            config = LoggerConfig(log_level="INFO")
            assert (config.log_level, config.sources()["log_level"].source) == ("DEBUG", "command line --log-level")
        config = LoggerConfig(log_level="INFO")
        assert (config.log_level, config.sources()["log_level"].source) == ("INFO", "argument in code")
        config = LoggerConfig()
        assert (config.log_level, config.sources()["log_level"].source) == (
            "WARNING",
            "environment METAEXPERT_LOG_LEVEL",
        )
        monkeypatch.delenv("METAEXPERT_LOG_LEVEL")
        config = LoggerConfig()
        assert (config.log_level, config.sources()["log_level"].source) == ("ERROR", ".env METAEXPERT_LOG_LEVEL")
        Path(".env").unlink()
        config = LoggerConfig()
        assert (config.log_level, config.sources()["log_level"].source) == ("CRITICAL", "pyproject.toml")
        Path("pyproject.toml").unlink()
        config = LoggerConfig()
        assert (config.log_level, config.sources()["log_level"].source) == ("INFO", "default")

    def test_long_name_beats_short_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """LOG_LEVEL works alone and yields to METAEXPERT_LOG_LEVEL."""
        monkeypatch.setenv("LOG_LEVEL", "ERROR")
        assert LoggerConfig().log_level == "ERROR"
        assert LoggerConfig().sources()["log_level"].source == "environment LOG_LEVEL"
        monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "DEBUG")
        assert LoggerConfig().log_level == "DEBUG"

    def test_short_names_are_for_log_fields_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable such as LAYOUT belongs to somebody else."""
        monkeypatch.setenv("LAYOUT", "rfc5424")
        monkeypatch.setenv("BACKUP_COUNT", "99")
        config = LoggerConfig()
        assert (config.layout, config.backup_count) == ("flat", 5)

    def test_an_empty_variable_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty variable means the same as none."""
        monkeypatch.setenv("LOG_LEVEL", "")
        monkeypatch.setenv("METAEXPERT_ROTATE_WHEN", "")
        assert (LoggerConfig().log_level, LoggerConfig().rotate_when) == ("INFO", None)

    def test_names_in_any_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Variables are found in lower case too."""
        monkeypatch.setenv("metaexpert_log_level", "ERROR")
        assert LoggerConfig().log_level == "ERROR"

    def test_nearest_pyproject_upwards(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The table is read from the nearest pyproject.toml, as ruff and pytest do."""
        (tmp_path / "pyproject.toml").write_text(PYPROJECT + 'expert_name = "Upper"\n')
        (tmp_path / "a" / "b").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "a" / "b")
        config = LoggerConfig()
        assert config.expert_name == "Upper"
        assert config.sources()["expert_name"].source == str(Path("../../pyproject.toml"))
        (tmp_path / "pyproject.toml").write_text(PYPROJECT + 'expert_nam = "Upper"\n')
        assert f"({Path('../../pyproject.toml')})" in wrong()
        (tmp_path / "pyproject.toml").write_text("[tool")
        assert wrong().startswith(f"{Path('../../pyproject.toml')}: cannot be read")

    def test_types_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Text from the environment becomes booleans, numbers, sizes and paths."""
        for name, value in {
            "LOG_TO_CONSOLE": "no",
            "METAEXPERT_BACKUP_COUNT": "7",
            "METAEXPERT_MAX_FILE_SIZE": "512KB",
            "METAEXPERT_OVERFLOW_TIMEOUT": "1.5",
            "LOG_DIR": "elsewhere",
            "METAEXPERT_STRUCTURED_LOGGING": "1",
        }.items():
            monkeypatch.setenv(name, value)
        config = LoggerConfig()
        assert config.log_to_console is False
        assert (config.backup_count, config.max_file_size, config.overflow_timeout) == (7, 512 * 1024, 1.5)
        assert (config.log_dir, config.json_logging) == (Path("elsewhere"), True)

    def test_a_preset_yields_to_every_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A preset stands in for the defaults: the environment can still turn DEBUG on in production."""
        assert LoggerConfig.for_production().log_level == "INFO"
        monkeypatch.setenv("LOG_LEVEL", "DEBUG")
        config = LoggerConfig.for_production(backup_count=2)
        assert (config.log_level, config.backup_count, config.compress_backups) == ("DEBUG", 2, True)
        assert config.sources()["compress_backups"].source == "preset for_production"


class TestPresets:
    def test_development(self) -> None:
        """DEBUG on a text console."""
        config = LoggerConfig.for_development()
        assert (config.log_level, config.console_level, config.console_format) == ("DEBUG", "DEBUG", "text")

    def test_production(self) -> None:
        """INFO, JSON console, compression."""
        config = LoggerConfig.for_production()
        assert (config.log_level, config.console_format, config.compress_backups) == ("INFO", "json", True)

    def test_backtesting(self) -> None:
        """INFO, no console, and a call that waits rather than drops."""
        config = LoggerConfig.for_backtesting()
        assert (config.log_level, config.log_to_console, config.overflow) == ("INFO", False, "block")


class TestValues:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            (10485760, 10485760),
            ("10485760", 10485760),
            ("10MB", 10 * 2**20),
            ("10MiB", 10 * 2**20),
            ("10 mb", 10 * 2**20),
            ("1.5K", 1536),
            ("1g", 2**30),
            ("64kb", 65536),
        ],
    )
    def test_sizes(self, text: object, size: int) -> None:
        """MB and MiB both mean 1024 * 1024, in any case, with or without a space."""
        assert LoggerConfig(max_file_size=text).max_file_size == size

    @pytest.mark.parametrize("level", ["debug", "Debug", " DEBUG ", logging.DEBUG, 10])
    def test_levels(self, level: object) -> None:
        """A level may be given in any case or by its number; the config holds the plain name."""
        config = LoggerConfig(log_level=level)
        assert type(config.log_level) is str
        assert config.log_level == "DEBUG"

    def test_home_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A ~ that no shell has replaced, as in .env, is the home directory and not a directory of that name."""
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        Path(".env").write_text("LOG_DIR=~/bot-logs\n")
        assert LoggerConfig().log_dir == tmp_path / "bot-logs"

    def test_alias_of_levels(self) -> None:
        """WARN and FATAL mean what logging means by them."""
        assert (LoggerConfig(log_level="warn").log_level, LoggerConfig(log_level="FATAL").log_level) == (
            "WARNING",
            "CRITICAL",
        )

    def test_aliases_of_fields(self) -> None:
        """structured_logging, trade_log_file and error_log_file are other names of three fields."""
        config = LoggerConfig(structured_logging=True, trade_log_file="t.log", error_log_file="e.log")
        assert (config.json_logging, config.log_trade_file, config.log_error_file) == (True, "t.log", "e.log")


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ({"log_level": "LOUD"}, ["log_level", "'LOUD'", "DEBUG, INFO, WARNING, ERROR or CRITICAL"]),
            ({"log_level": None}, ["log_level", "None"]),
            ({"console_level": "x"}, ["console_level", "'x'"]),
            ({"expert_name": ""}, ["expert_name: '' should have"]),
            ({"log_dir": 3}, ["log_dir", "3", 'should be a path such as "logs"']),
            ({"log_dir": ""}, ["log_dir", "''", 'should be a path such as "logs"']),
            ({"log_dir": "a\0b"}, ["log_dir", "'a\\x00b'", "should be a path"]),
            ({"log_dir": "\ud800"}, ["log_dir", "'\\ud800'", "should be a path"]),
            ({"log_dir": "~nobody-at-all/logs"}, ["log_dir", "'~nobody-at-all/logs'", "home directory"]),
            ({"log_file": "x" * 201}, ["log_file", "at most 200 bytes"]),
            ({"log_file": "a/b.log"}, ["log_file", "'a/b.log'", "log_dir"]),
            ({"log_file": "expert.log.1"}, ["log_file", "backup"]),
            ({"log_trade_file": "logging_errors.log"}, ["log_trade_file", "the logger's own"]),
            ({"log_file": "recorder-20261122T103100.000000Z.log"}, ["log_file", "the logger's own"]),
            ({"log_error_file": "expert.log"}, ["log_error_file", "'expert.log'", "log_file"]),
            ({"log_error_file": "EXPERT.LOG"}, ["log_error_file", "'EXPERT.LOG'", "log_file"]),
            ({"log_to_file": "perhaps"}, ["log_to_file", "'perhaps'", "boolean"]),
            ({"log_to_file": False, "log_to_console": False}, ["log_to_console", "at least one"]),
            ({"console_format": "xml"}, ["console_format", "'xml'", "'text' or 'json'"]),
            ({"layout": "xml"}, ["layout", "'xml'", "'flat' or 'rfc5424'"]),
            ({"max_file_size": "ten"}, ["max_file_size", "'ten'", "10MB"]),
            ({"max_file_size": -1}, ["max_file_size", "-1"]),
            ({"max_file_size": "9" * 400}, ["max_file_size", "'999", "10MB"]),
            ({"max_file_size": "٣MB"}, ["max_file_size", "'٣MB'", "10MB"]),
            ({"max_file_size": True}, ["max_file_size", "True"]),
            ({"backup_count": -1}, ["backup_count", "-1"]),
            ({"backup_count": 1.5}, ["backup_count", "1.5"]),
            ({"rotate_when": "noon"}, ["rotate_when", "'noon'", "'midnight' or 'hourly'"]),
            ({"max_total_size": "1MB"}, ["max_total_size", "max_file_size"]),
            ({"max_entry_size": 10}, ["max_entry_size", "10"]),
            ({"max_value_length": 0}, ["max_value_length", "0"]),
            ({"journal_size": "1B"}, ["journal_size", "'1B'"]),
            ({"overflow": "explode"}, ["overflow", "'explode'", "'drop_low' or 'block'"]),
            ({"overflow_timeout": -1}, ["overflow_timeout", "-1"]),
            ({"fsync": "always"}, ["fsync", "'always'"]),
            ({"processors": "x"}, ["processors", "given in code"]),
            ({"enterprise_id": 0}, ["enterprise_id", "0"]),
            ({"facility": 24}, ["facility", "24"]),
        ],
    )
    def test_one_line_with_field_value_and_source(self, options: dict[str, Any], parts: list[str]) -> None:
        """Each bad value is one line that names field, value, what would be right, and where it was given."""
        text = wrong(**options)
        assert "\n" not in text
        for part in [*parts, "argument in code"]:
            assert part in text

    def test_every_problem_is_told_at_once(self) -> None:
        """Two bad values and an unknown name are three lines."""
        assert len(wrong(log_level="x", backup_count=-1, colour="red").splitlines()) == 3

    def test_the_source_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bad value is blamed on the place where it stands."""
        monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "LOUD")
        assert "(environment METAEXPERT_LOG_LEVEL)" in wrong()
        monkeypatch.delenv("METAEXPERT_LOG_LEVEL")
        Path(".env").write_text("METAEXPERT_LOG_LEVEL=LOUD\n")
        assert "(.env METAEXPERT_LOG_LEVEL)" in wrong()
        Path(".env").unlink()
        Path("pyproject.toml").write_text(PYPROJECT + "backup_count = -3\n")
        assert "-3" in wrong()
        assert "(pyproject.toml)" in wrong()
        with command_line({"max_file_size": "big"}):
            assert "(command line --max-file-size)" in wrong()

    def test_an_unknown_name_is_guessed_and_its_value_not_shown(self) -> None:
        """Under an unknown name the value may be a secret."""
        text = wrong(log_levl="s3cr3t-value")
        assert "log_levl" in text
        assert "'log_level'" in text
        assert "s3cr3t" not in text
        assert "config show" in wrong(zzz="s3cr3t-value")

    def test_an_unknown_key_of_pyproject(self) -> None:
        """A misspelt key in our table is an error, not ignored."""
        Path("pyproject.toml").write_text(PYPROJECT + 'log_levl = "INFO"\n')
        text = wrong()
        assert "log_levl" in text
        assert "pyproject.toml" in text

    def test_a_broken_pyproject(self) -> None:
        """A header that may be meant for ours is an error that names the file."""
        Path("pyproject.toml").write_text("[tool")
        assert "pyproject.toml: cannot be read" in wrong()

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("[tool.metaexpert]\nlogger = 3\n", "tool.metaexpert.logger"),
            ("[tool]\nmetaexpert = 3\n", "tool.metaexpert"),
        ],
    )
    def test_a_table_that_is_none(self, text: str, name: str) -> None:
        """[tool.metaexpert] logger = 3 is an error, and so is [tool] metaexpert = 3."""
        Path("pyproject.toml").write_text(text)
        assert f"[{name}] is not a table but 3" in wrong()

    def test_given_twice(self) -> None:
        """A field and its alias together are a contradiction; both names are told."""
        text = wrong(json_logging=True, structured_logging=False)
        assert text == (
            "structured_logging: means the same as json_logging, which is given too; keep one (argument in code)"
        )

    def test_given_twice_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two variables that mean one field, both are named."""
        monkeypatch.setenv("LOG_TRADE_FILE", "a.log")
        monkeypatch.setenv("METAEXPERT_TRADE_LOG_FILE", "b.log")
        text = wrong()
        assert "METAEXPERT_TRADE_LOG_FILE" in text
        assert "LOG_TRADE_FILE" in text.replace("METAEXPERT_TRADE_LOG_FILE", "")

    def test_a_long_value_is_cut(self) -> None:
        """A value of any length makes a line of bounded length."""
        assert len(wrong(log_level="x" * 10_000)) < 300

    @settings(max_examples=examples(300), deadline=None)
    @given(st.sampled_from(sorted(LoggerConfig.model_fields)), ANYTHING)
    def test_whatever_a_field_is_given(self, field: str, value: Any) -> None:
        """Any value of any type is taken, or told in one line of bounded length; nothing else is raised."""
        try:
            LoggerConfig(**{field: value})
        except ConfigurationError as error:
            (problem,) = error.problems
            assert field in problem.message
            assert "\n" not in problem.message
            assert len(problem.message) < 300

    def test_a_value_that_cannot_be_shown(self) -> None:
        """A value whose repr fails is told by its type."""

        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError

        assert wrong(expert_name=Hostile()).startswith("expert_name: a value of type Hostile should be")
        assert wrong(expert_name=10**5000).startswith("expert_name: a value of type int should be")

    def test_pickles(self) -> None:
        """The error crosses process borders."""
        with pytest.raises(ConfigurationError) as caught:
            LoggerConfig(log_level="x")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_processors_cannot_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Callables exist in code only."""
        monkeypatch.setenv("METAEXPERT_PROCESSORS", "os.system")
        assert "given in code" in wrong()


class TestForeignSettings:
    def test_are_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Foreign keys in .env and the environment neither fail nor appear."""
        Path(".env").write_text("DATABASE_URL=postgres://u:p@h/db\nLOG_SHIPPING=yes\nMETAEXPERT_DATA_FEED=x\n")
        monkeypatch.setenv("METAEXPERT_PLUGIN_PATH", "/x")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert LoggerConfig().log_level == "INFO"

    @pytest.mark.parametrize("where", ["environment", ".env"])
    def test_a_misspelt_variable_is_warned_about(self, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        """METAEXPERT_LOG_LEVL has no effect and is told with the likely name, never its value."""
        if where == ".env":
            Path(".env").write_text("METAEXPERT_LOG_LEVL=s3cr3t\n")
        else:
            monkeypatch.setenv("METAEXPERT_LOG_LEVL", "s3cr3t")
        with pytest.warns(ConfigurationWarning, match="METAEXPERT_LOG_LEVEL") as caught:
            LoggerConfig()
        assert "s3cr3t" not in str(caught[0].message)

    @pytest.mark.filterwarnings("ignore:python-dotenv")
    def test_a_line_that_cannot_be_read_is_warned_about(self) -> None:
        """A quote that nobody closes swallows a setting of ours; another program's lines are its own."""
        Path(".env").write_text("OTHER=x\nMETAEXPERT_LOG_LEVEL='s3cr3t\nMETAEXPERT_BACKUP_COUNT=3\n")
        with pytest.warns(ConfigurationWarning, match=r"\.env: line 2 cannot be read and is ignored") as caught:
            assert (LoggerConfig().log_level, LoggerConfig().backup_count) == ("INFO", 3)
        assert all("s3cr3t" not in str(one.message) for one in caught)
        Path(".env").write_text("OTHER='x\n")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert LoggerConfig().log_level == "INFO"


class TestTheObject:
    def test_is_frozen(self) -> None:
        """A configuration cannot be changed after it was checked."""
        with pytest.raises(ValidationError):
            LoggerConfig().log_level = "DEBUG"  # type: ignore[misc]

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
    def test_copies_and_pickles(self, duplicate: Callable[[LoggerConfig], LoggerConfig]) -> None:
        """Copies are equal and know their sources."""
        config = LoggerConfig(log_level="ERROR")
        other = duplicate(config)
        assert other == config
        assert other.sources()["log_level"].source == "argument in code"

    def test_replace_keeps_the_rest_with_its_sources(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`replace` replaces what is named and takes nothing new from the environment."""
        config = LoggerConfig(expert_name="A", log_level="ERROR")
        monkeypatch.setenv("LOG_LEVEL", "CRITICAL")
        monkeypatch.setenv("METAEXPERT_BACKUP_COUNT", "9")
        other = config.replace(structured_logging=True)
        assert (other.log_level, other.expert_name, other.backup_count, other.json_logging) == ("ERROR", "A", 5, True)
        assert other.sources()["backup_count"].source == "default"
        assert other.sources()["json_logging"].source == "argument in code"

    def test_replace_validates(self) -> None:
        """A bad value is as wrong here as anywhere."""
        with pytest.raises(ConfigurationError, match="log_level"):
            LoggerConfig().replace(log_level="x")

    def test_shown_is_json(self) -> None:
        """Every value can be printed as JSON."""
        import json

        shown = {name: value for name, (value, _) in LoggerConfig(processors=[print]).sources().items()}
        assert json.loads(json.dumps(shown)) == shown
        assert set(shown) == set(LoggerConfig.model_fields)
        assert shown["processors"] == ["print"]

    def test_nothing_is_created(self, tmp_path: Path) -> None:
        """Reading a configuration leaves no trace on disk."""
        LoggerConfig(log_dir="deep/er")
        assert list(tmp_path.iterdir()) == []
