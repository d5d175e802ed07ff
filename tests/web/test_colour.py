"""Colours: text on them and as text, for every colour that somebody may choose."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oidcgate.web.colour import (
    BLACK,
    DARK_GROUNDS,
    LEAST,
    LEAST_IN_THE_DARK,
    LIGHT_GROUNDS,
    WHITE,
    contrast,
    luminance,
    mixed,
    readable,
    text_on,
    variables,
)
from oidcgate.web.pages import STYLE

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        (BLACK, WHITE, 21.0),
        (WHITE, WHITE, 1.0),
        ("#777777", WHITE, 4.48),  # the best known of those that just fail
        ("#767676", WHITE, 4.54),
        ("#ff0000", WHITE, 4.00),
        ("#0000ff", BLACK, 2.44),
    ],
)
def test_contrast(one: str, other: str, ratio: float) -> None:
    """As WCAG computes it, whichever comes first."""
    assert round(contrast(one, other), 2) == ratio
    assert contrast(one, other) == contrast(other, one)


def test_luminance() -> None:
    """Green is the brightest, blue the darkest; black is nothing and white all."""
    assert luminance(BLACK) == 0
    assert round(luminance(WHITE), 6) == 1
    assert luminance("#00ff00") > luminance("#ff0000") > luminance("#0000ff")


@pytest.mark.parametrize(
    ("colour", "text"), [("#1d5fd1", WHITE), ("#ffd400", BLACK), ("#ffffff", BLACK), ("#000000", WHITE)]
)
def test_text_on(colour: str, text: str) -> None:
    """White on what is dark, black on what is bright."""
    assert text_on(colour) == text


@given(COLOURS)
def test_text_can_be_read_on_every_colour(colour: str) -> None:
    """Black or white always has the contrast that text needs."""
    assert contrast(text_on(colour), colour) >= LEAST


@given(COLOURS)
def test_every_colour_becomes_readable(colour: str) -> None:
    """On cards and around them, in both schemes."""
    for grounds, least in ((LIGHT_GROUNDS, LEAST), (DARK_GROUNDS, LEAST_IN_THE_DARK)):
        text = readable(colour, grounds, least)
        assert min(contrast(text, ground) for ground in grounds) >= least


@pytest.mark.parametrize("colour", ["#1d5fd1", "#0b6e4f", "#5b2c83"])
def test_a_readable_colour_stays(colour: str) -> None:
    """Nothing is changed that need not be."""
    assert readable(colour, LIGHT_GROUNDS) == colour


def test_mixed() -> None:
    """From the one to the other."""
    assert [mixed("#204060", WHITE, share) for share in (0, 0.5, 1)] == ["#204060", "#90a0b0", WHITE]


def test_variables() -> None:
    """Both schemes have what the stylesheet uses."""
    assert variables("#ffd400") == (
        f":root{{--accent:#ffd400;--on-accent:#000000;--link:{readable('#ffd400', LIGHT_GROUNDS)}}}"
        "@media (prefers-color-scheme:dark){:root{--link:#ffd400}}"
    )
    assert {"accent", "on-accent", "link"} <= set(re.findall(r"var\(--([a-z-]+)\)", STYLE))


def test_grounds_are_those_of_the_stylesheet() -> None:
    """What colours are measured against is what they stand on."""
    found = [tuple(re.findall(r"--(?:card|ground):(#\w+)", line)) for line in STYLE.splitlines()[:2]]
    assert [set(grounds) for grounds in found] == [set(LIGHT_GROUNDS), set(DARK_GROUNDS)]
