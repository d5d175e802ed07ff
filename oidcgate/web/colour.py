"""
The gate's pages in somebody's own colour: which text can be read on it, and how it can be read as text itself.

Pure. Colours are ``#rrggbb``; contrast is that of WCAG 2.2, whose least for text is 4.5 (SC 1.4.3, level AA).
"""

from collections.abc import Sequence

LEAST = 4.5
LEAST_IN_THE_DARK = 6.0  # thin bright strokes on a dark ground look fainter than their contrast
BLACK, WHITE = "#000000", "#ffffff"
# What text stands on, as in style.css: cards, and what is around them.
LIGHT_GROUNDS = ("#ffffff", "#f3f5f8")
DARK_GROUNDS = ("#171e29", "#0e131b")
STEPS = 64  # from a colour to black or white

Channels = tuple[int, int, int]


def channels(colour: str) -> Channels:
    """Red, green and blue, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance, 0 (black) to 1 (white), of an sRGB colour (WCAG 2.2, "relative luminance")."""
    parts = [part / 255 for part in channels(colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 (the same) to 21 (black and white)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_on(colour: str) -> str:
    """Black or white, whichever is read better; the better one always has at least 4.58."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, colour))


def mixed(colour: str, other: str, share: float) -> str:
    """A colour with a share (0 to 1) of another in it."""
    both = zip(channels(colour), channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in both)


def readable(colour: str, grounds: Sequence[str], least: float = LEAST) -> str:
    """The nearest to a colour that can be read on every ground: darker on light grounds, lighter on dark ones."""
    pole = text_on(grounds[0])
    tried = (mixed(colour, pole, step / STEPS) for step in range(STEPS))
    return next((text for text in tried if all(contrast(text, ground) >= least for ground in grounds)), pole)


def variables(colour: str) -> str:
    """The accent for the stylesheet, in both schemes: as a ground with text on it, and as text, which is ``--link``."""
    on = f"--accent:{colour};--on-accent:{text_on(colour)}"
    return (
        f":root{{{on};--link:{readable(colour, LIGHT_GROUNDS)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{--link:{readable(colour, DARK_GROUNDS, LEAST_IN_THE_DARK)}}}}}"
    )
