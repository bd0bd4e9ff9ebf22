"""The picture of README: made from commands and their output, without anything from the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import terminal_picture

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/terminal.svg"


def test_commands_and_colours_are_in_the_picture():
    """A command stands behind a prompt, and its output keeps the colours it had."""
    svg = terminal_picture.picture([("metaexpert logs", "\x1b[31merror\x1b[0m & done\n")])

    assert "metaexpert&#160;logs" in svg
    assert "fill: #ff7b72" in svg
    assert "&amp;" in svg


def test_the_same_session_gives_the_same_bytes():
    """Made anew, the picture differs only where the output does."""
    session = [("metaexpert logs", "one\n"), ("metaexpert logs --reverse", "two\n")]

    assert terminal_picture.picture(session) == terminal_picture.picture(session)


@pytest.mark.parametrize("command", terminal_picture.COMMANDS)
def test_our_picture_shows_each_command(command):
    """The picture in the repository is made from the commands of the tool."""
    assert command.replace(" ", "&#160;") in PICTURE.read_text("utf-8")


def test_our_picture_needs_nothing_else_and_names_no_directory():
    """It fetches no font, and shows no path of the machine on which it was made."""
    text = PICTURE.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")

    assert not any(word in text for word in ("http", "@font-face", "/tmp", "/home", "/root", "<script"))


def test_without_a_file_it_says_how_it_is_used(capsys):
    """A wrong command line changes nothing and ends with exit code 2."""
    assert terminal_picture.main([]) == 2
    assert "usage" in capsys.readouterr().err
