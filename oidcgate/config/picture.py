"""
Small pictures that the configuration names: read whole, and known by their content, whatever their name says.

Edge: reads the file that it is given.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

MOST = 64 << 10  # bytes
SVG_ROOT = "http://www.w3.org/2000/svg svg"
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),  # W3C PNG §5.2
    (b"\xff\xd8\xff", 0, "image/jpeg"),  # ITU-T T.81 §B.1.1
    (b"WEBP", 8, "image/webp"),  # RFC 9649 §2.4, after RIFF and a size
)
KINDS = "PNG, SVG, WebP or JPEG"


class UnusablePicture(Exception):
    """A file that is no picture we show; says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's bytes, and what they are."""

    data: bytes
    media_type: str


def read_picture(file: str) -> Picture:
    """
    Read a picture of at most 64 KiB.

    Raises:
        UnusablePicture: it cannot be read, is too large, or is of no kind that we show.
    """
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(MOST + 1)
    except OSError as error:
        raise UnusablePicture(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > MOST:
        raise UnusablePicture(f"{file} is larger than 64 KiB; every page loads it, so make it smaller")
    media_type = kind_of(data)
    if media_type is None:
        raise UnusablePicture(f"{file} is no {KINDS}, going by its content")
    return Picture(data, media_type)


def kind_of(data: bytes) -> str | None:
    """The media type of a picture, by its content; None when it is of no kind that we show."""
    for signature, at, media_type in SIGNATURES:
        if data[at : at + len(signature)] == signature and (at == 0 or data.startswith(b"RIFF")):
            return media_type
    return "image/svg+xml" if _is_svg(data) else None


def _is_svg(data: bytes) -> bool:
    """Whether this is well-formed XML whose root is SVG's; entities of its own are refused, since they can explode."""
    roots: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, _: roots.append(name) if not roots else None
    parser.EntityDeclHandler = _no_entities
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding that nobody knows
        return False
    return roots == [SVG_ROOT]


def _no_entities(*_: object) -> None:
    raise ValueError("declares an entity")
