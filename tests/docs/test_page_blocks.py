"""The code in our pages does what the pages say."""

from __future__ import annotations

from pathlib import Path

import doc_blocks
import markdown_text
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Everything that is run or compared, what is checked elsewhere (bash), and drawings.
LANGUAGES = {"python", "console", "text", "json", "toml", "ini", "bash", ""}


def runnable_sections():
    """Yield the sections with code to run; those of the guides, many programs, are for a step of `.ci/run`."""
    for page in PAGES:
        marks = [] if page.name == "README.md" else [pytest.mark.program]
        for heading, blocks in doc_blocks.sections(page.read_text("utf-8")):
            if {block.language for block in blocks} - {"bash", ""}:
                yield pytest.param(page, heading, id=f"{page.stem}: {heading}", marks=marks)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("page", "heading"), [*runnable_sections()])
def test_a_section_does_what_it_says(page, heading, tmp_path):
    """The blocks of a section run in order, in an empty directory, and print and log what is shown."""
    runner = doc_blocks.Runner(tmp_path)

    runner.run(dict(doc_blocks.sections(page.read_text("utf-8")))[heading])

    assert runner.problems == []


def test_headings_are_unique_so_that_no_section_hides_another():
    """A page has no two sections of the same name, of which only one would be run."""
    for page in PAGES:
        names = [heading for heading, _ in doc_blocks.sections(page.read_text("utf-8"))]
        assert len(names) == len(set(names)), page


def test_no_block_escapes_the_checks_by_its_language():
    """Each block of a page is of a language that is run, compared or checked."""
    for page in PAGES:
        unknown = {block.language for block in markdown_text.blocks(page.read_text("utf-8"))} - LANGUAGES
        assert unknown == set(), page


def test_the_guide_shows_an_entry_of_each_level():
    """The section on levels has an example entry for all five of them."""
    sections = dict(doc_blocks.sections((ROOT / "docs/guides/logging.md").read_text("utf-8")))
    levels = next(blocks for heading, blocks in sections.items() if heading.startswith("Levels"))
    shown = "".join(block.text for block in levels if block.language == "json")

    assert all(f'"level":"{level}"' in shown for level in ("debug", "info", "warning", "error", "critical"))
