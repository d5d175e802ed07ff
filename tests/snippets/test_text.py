"""Filling in templates."""

import pytest

from oidcgate.snippets.text import fill


def test_words_and_lines() -> None:
    """A name within a line takes a word; alone on its line it takes lines with its indentation, or none."""
    template = "a <word> {b} $c\n  <lines>\n  <none>\nend\n"
    assert fill(template, word="W", lines=["1", "", "2"], none=()) == "a W {b} $c\n  1\n\n  2\nend\n"


def test_text_for_lines_is_divided() -> None:
    """Lines may come as one text."""
    assert fill("\t<lines>\n", lines="1\n  2\n") == "\t1\n\t  2\n"


def test_what_is_filled_in_is_left_alone() -> None:
    """Values are not templates, and named groups of regular expressions are no names."""
    assert fill("<a> (?<b>x)", a="<c>") == "<c> (?<b>x)"


def test_a_forgotten_value() -> None:
    """A name without a value is an error."""
    with pytest.raises(KeyError):
        fill("<a>")
