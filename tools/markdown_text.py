"""The parts of a Markdown page that our checks look at: fenced blocks, headings, links and tables.

It reads what our own pages use of GitHub's Markdown, no more: fences of backticks, ATX headings, inline links. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

_FENCE = re.compile(r"^ {0,3}(`{3,})\s*([^`]*)$")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?[^)]*\)")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")
#: Begins a list item, a quotation, or a row of a table.
_ITEM = re.compile(r"^\s*(?:[-*>|]|\d+\.)\s+")
_SENTENCE_END = re.compile(r"[.!?:][*_)\"]*(?=\s)|(?<=\s)\|(?=\s)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: First word behind the fence, empty without one.
        text: What stands between the fences, with a newline at its end.
        line: Line of its first row in the page, counted from 1.
        section: Text of the last heading of level 1 or 2 above it, empty without one.
    """

    language: str
    text: str
    line: int
    section: str


@dataclass(frozen=True)
class Link:
    """A link as it is written: its target, and its line counted from 1."""

    target: str
    line: int


def _scan(page: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, kind ("opening", "inside", "closing", "prose") and text of each line."""
    fence = ""
    for number, line in enumerate(page.splitlines(), start=1):
        match = _FENCE.match(line)
        if not fence:
            fence = match[1] if match else ""
            yield number, "opening" if match else "prose", line
        elif match and match[1].startswith(fence) and not match[2]:
            fence = ""
            yield number, "closing", line
        else:
            yield number, "inside", line


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of *page* in order. One that is not closed ends with the page."""
    found: list[Block] = []
    section = ""
    for number, kind, line in _scan(page):
        if kind == "opening":
            found.append(Block((line.strip(" `").split() or [""])[0], "", number + 1, section))
        elif kind == "inside":
            found[-1] = replace(found[-1], text=f"{found[-1].text}{line}\n")
        elif kind == "prose" and (heading := _HEADING.match(line)) and len(heading[1]) <= 2:
            section = plain(heading[2])
    return found


def prose(page: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line outside fenced blocks."""
    return ((number, line) for number, kind, line in _scan(page) if kind == "prose")


def sentences(page: str) -> Iterator[tuple[int, str]]:
    """Yield the line on which it begins and the text of each sentence outside headings and fenced blocks.

    A list item and a cell of a table begin a sentence, too.
    """
    paragraph: list[tuple[int, str]] = []
    for number, line in [*prose(page), (0, "")]:
        heading = _HEADING.match(line)
        if heading or not line.strip() or _ITEM.match(line):
            yield from _sentences(paragraph)
            paragraph = []
        if line.strip() and not heading:
            paragraph.append((number, _ITEM.sub("", line)))


def _sentences(paragraph: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the sentences of one paragraph, which the lines of *paragraph* make up."""
    text = "\n".join(line for _, line in paragraph)
    begin = 0
    for end in [match.end() for match in _SENTENCE_END.finditer(text)] + [len(text)]:
        sentence = text[begin:end]
        skipped = len(sentence) - len(sentence.lstrip(" \n*_|"))
        if sentence.strip(" \n*_|"):
            yield paragraph[text.count("\n", 0, begin + skipped)][0], " ".join(sentence[skipped:].split())
        begin = end


def plain(text: str) -> str:
    """Return *text* without the marks of code, emphasis and links."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`|\*+", "", text)


def anchors(page: str) -> set[str]:
    """Return the anchors of *page*: its headings as GitHub turns them into ids, repeated ones with ``-1`` and so on."""
    found: set[str] = set()
    for _, line in prose(page):
        if heading := _HEADING.match(line):
            kept = "".join(c for c in plain(heading[2]).lower() if c.isalnum() or c in " -_")
            slug = base = kept.replace(" ", "-")
            count = 0
            while slug in found:
                count += 1
                slug = f"{base}-{count}"
            found.add(slug)
    return found


def links(page: str) -> list[Link]:
    """Return the inline links and images of *page*, those in code left out."""
    return [
        Link(match[1], number) for number, line in prose(page) for match in _LINK.finditer(_CODE_SPAN.sub("", line))
    ]


def rows(page: str, first_header: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of the body rows of each table whose first column is headed *first_header*."""
    inside = False
    for number, line in prose(page):
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELL_BORDER.split(line.strip().strip("|"))]
        if not line.strip().startswith("|"):
            inside = False
        elif cells[0] == first_header:
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            yield number, cells
