"""The reader of Markdown behind the checks of our pages."""

from __future__ import annotations

import markdown_text as markdown

PAGE = """# Page `one`

Text with [a link](other.md#part), ![a picture](pic.png "title") and `[no](link)`.

## Part *two*

```python
# ## no heading, [no](link)
print("|")
```

## Part *two*

````text
```
inner
```
````

| field | default |
| --- | --- |
| `a` | 1 |
| `b` | `x\\|y` |

| other | default |
| --- | --- |
| `c` | 3 |
"""


def test_blocks_have_language_text_line_and_section():
    """A block knows what stands in it, where it begins and under which heading."""
    first, _ = markdown.blocks(PAGE)

    assert first.language == "python"
    assert first.text == '# ## no heading, [no](link)\nprint("|")\n'
    assert (first.line, first.section) == (8, "Part two")
    assert PAGE.splitlines()[first.line - 1].startswith("# ##")


def test_a_longer_fence_may_hold_a_shorter_one():
    """A block ends with a fence at least as long as its own."""
    assert markdown.blocks(PAGE)[1].text == "```\ninner\n```\n"


def test_an_unclosed_block_ends_with_the_page():
    """A forgotten fence loses no code."""
    assert markdown.blocks("```python\nx = 1")[0].text == "x = 1\n"


def test_only_words_of_the_fence_line_name_the_language():
    """What stands behind the first word is not part of the language."""
    assert [b.language for b in markdown.blocks("``` python title\n```\n```\n```\n")] == ["python", ""]


def test_links_in_code_are_none():
    """Links are found in prose, also images and titled ones, and not in code."""
    assert [link.target for link in markdown.links(PAGE)] == ["other.md#part", "pic.png"]
    assert markdown.links(PAGE)[0].line == 3


def test_a_link_may_have_code_as_its_text():
    """The text of a link may be code."""
    assert [link.target for link in markdown.links("see [`x.py`](src/x.py)")] == ["src/x.py"]


def test_anchors_are_those_of_the_hub():
    """A heading becomes lower-case words with hyphens; a repeated one is numbered."""
    assert markdown.anchors(PAGE) == {"page-one", "part-two", "part-two-1"}
    assert markdown.anchors("# What's new: `log_dir`, (2026)?\n") == {"whats-new-log_dir-2026"}


def test_rows_are_those_of_the_named_table():
    """Rows come from tables with that first header, without header and rule, escaped bars undone."""
    assert [cells for _, cells in markdown.rows(PAGE, "field")] == [["`a`", "1"], ["`b`", "`x|y`"]]


def test_sentences_know_the_line_on_which_they_begin():
    """Paragraphs, items and cells are cut into sentences; headings and code are none."""
    page = "# Head\n\nOne. Two\ngoes on: three\n- four\n\n| a | b. |\n\n```\ncode\n```\n"

    assert list(markdown.sentences(page)) == [
        (3, "One."),
        (3, "Two goes on:"),
        (4, "three"),
        (5, "four"),
        (7, "a |"),
        (7, "b."),
    ]
