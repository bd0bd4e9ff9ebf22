"""The check before a release: tag, version and changelog agree."""

from __future__ import annotations

from pathlib import Path

import check_release
import pytest

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-29

### Added

- All.

## [1.2.2] - 2026-01-01

- x
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose next release is 1.2.3."""
    (tmp_path / "src/metaexpert").mkdir(parents=True)
    (tmp_path / "src/metaexpert/_version.py").write_text('"""V."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_what_agrees_is_accepted(project: Path) -> None:
    """A tag is the version with a v before it."""
    assert list(check_release.problems("v1.2.3", project)) == []


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3-dirty", "latest"])
def test_a_tag_of_another_form_is_refused(project: Path, tag: str) -> None:
    """The tag is quoted, with what is right."""
    assert f"the tag {tag!r} should look like v1.2.3 or v1.2.3rc1" in check_release.problems(tag, project)


def test_another_version_is_named(project: Path) -> None:
    """Both sides are told."""
    found = list(check_release.problems("v1.2.4", project))
    assert "the tag says 1.2.4, src/metaexpert/_version.py says 1.2.3" in found
    assert "CHANGELOG.md has no section '## [1.2.4] - YYYY-MM-DD'" in found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (" - 2026-11-29", "", "CHANGELOG.md has no section '## [1.2.3] - YYYY-MM-DD'"),
        ("[1.2.3]", "[1X2X3]", "CHANGELOG.md has no section '## [1.2.3] - YYYY-MM-DD'"),
        ("### Added\n\n- All.\n", "", "the section of 1.2.3 in CHANGELOG.md is empty"),
        ("[Unreleased]\n", "[Unreleased]\n\n- More.\n", "CHANGELOG.md still has changes under Unreleased"),
        (
            "## [1.2.3]",
            "## [1.3.0] - 2026-12-01\n\n- x\n\n## [1.2.3]",
            "the section of 1.2.3 is not the newest in CHANGELOG.md",
        ),
    ],
)
def test_a_changelog_that_is_not_ready_is_named(project: Path, old: str, new: str, told: str) -> None:
    """A date, an entry, the newest place, and nothing left under Unreleased."""
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace(old, new))
    assert list(check_release.problems("v1.2.3", project)) == [told]


def test_the_command_prints_the_problems(project: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Exit code 0, 1 for problems, 2 without a tag."""
    monkeypatch.setattr(check_release, "ROOT", project)
    monkeypatch.setattr(check_release.problems, "__defaults__", (project,))
    assert check_release.main(["v1.2.3"]) == 0
    assert check_release.main(["v9.0.0"]) == 1
    assert "9.0.0" in capsys.readouterr().out
    assert check_release.main([]) == 2
