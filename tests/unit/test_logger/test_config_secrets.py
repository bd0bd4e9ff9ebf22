"""The settings about secrets: from all sources, registered, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr

from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger, register_secret
from metaexpert.logger.config.settings import command_line
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import mask_text

VALUE = "s3cr3t-from-somewhere"


def test_secrets_come_from_code() -> None:
    """As text or SecretStr; they are known from then on, and no repr shows them."""
    config = LoggerConfig(secrets=[VALUE, SecretStr("another-s3cr3t")])
    assert mask_text(f"{VALUE} another-s3cr3t") == "*** ***"
    assert VALUE not in f"{config!r} {config} {config.sources()} {config.model_dump()}"
    assert config.sources()["secrets"].value == ["***", "***"]


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between commas, or as JSON."""
    monkeypatch.setenv("METAEXPERT_SECRETS", f"{VALUE}, second-s3cr3t")
    LoggerConfig()
    assert mask_text(f"{VALUE} second-s3cr3t") == "*** ***"
    monkeypatch.setenv("METAEXPERT_SECRETS", '["with,comma-1"]')
    LoggerConfig()
    assert mask_text("with,comma-1") == "***"


def test_secrets_come_from_files_and_the_command_line() -> None:
    """From .env, from pyproject.toml, and from an option, which wins."""
    Path("pyproject.toml").write_text(
        f'[tool.metaexpert.logger]\nsecrets = ["{VALUE}"]\nextra_secret_keys = ["vault"]\n'
    )
    assert LoggerConfig().sources()["secrets"].source == "pyproject.toml"
    assert mask_text(VALUE) == "***"
    Path(".env").write_text("METAEXPERT_SECRETS=dotenv-s3cr3t\nMETAEXPERT_MASK_SECRETS=false\n")
    config = LoggerConfig()
    assert (config.sources()["secrets"].source, config.mask_secrets) == (".env METAEXPERT_SECRETS", False)
    with command_line({"secrets": ["option-s3cr3t"], "extra_secret_keys": ["wallet word"]}):
        config = LoggerConfig()
    assert config.sources()["secrets"].source == "command line --secrets"
    assert config.extra_secret_keys == ["wallet word"]
    assert mask_text("option-s3cr3t") == "***"


@pytest.mark.parametrize("value", [VALUE, [VALUE, 17], [VALUE, "abc"], [[VALUE]], {VALUE: 1}, [VALUE, "  ab  "]])
def test_a_wrong_value_is_told_without_the_value(value: object) -> None:
    """The error names field and source, and shows nothing that was given."""
    with pytest.raises(ConfigurationError) as caught:
        LoggerConfig(secrets=value)
    text = (
        f"{caught.value} {caught.value!r} {caught.value.problems} {caught.value.__cause__} {caught.value.__context__!r}"
    )
    assert str(caught.value).startswith("secrets: the value (not shown) should ")
    assert "argument in code" in str(caught.value)
    assert VALUE not in text
    assert "ab" not in str(caught.value).replace("valid", "").replace("able", "")


def test_a_wrong_environment_is_told_without_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is no JSON, or too short."""
    for text in (f'["{VALUE}"', "abc", f'[{{"a": "{VALUE}"}}]'):
        monkeypatch.setenv("METAEXPERT_SECRETS", text)
        with pytest.raises(ConfigurationError) as caught:
            LoggerConfig()
        assert VALUE not in str(caught.value)
        assert "environment METAEXPERT_SECRETS" in str(caught.value)


def test_a_known_secret_in_another_setting_is_not_shown() -> None:
    """Given by mistake as the value of something else."""
    register_secret(VALUE)
    with pytest.raises(ConfigurationError) as caught:
        LoggerConfig(log_level=VALUE, max_file_size=VALUE)
    assert VALUE not in str(caught.value)
    assert "log_level: '***' should be DEBUG" in str(caught.value)


def test_a_key_without_a_word_is_refused() -> None:
    """A secret name needs letters."""
    with pytest.raises(ConfigurationError, match=r"extra_secret_keys: \['--'\] should be names"):
        LoggerConfig(extra_secret_keys=["--"])


def test_a_pickled_configuration_masks_in_the_process_that_gets_it() -> None:
    """Its secrets are registered when a logger is made of it."""
    data = pickle.dumps(LoggerConfig(secrets=[VALUE], log_to_console=False))
    registered.forget()
    with MetaLogger(pickle.loads(data)) as logger:
        logger.info(VALUE)
    assert VALUE not in Path("logs/expert.log").read_text()
    assert '"message":"***"' in Path("logs/expert.log").read_text()
