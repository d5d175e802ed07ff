"""
Small PNGs for the documentation: a photograph with at most 256 colours, as pages have few.

Pure. The commonest colours stay as they are, and so does one of each further shade; all others become the nearest of them.
"""

import struct
import zlib
from collections import Counter

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST = 256  # colours of a palette (W3C PNG §11.2.2)
EXACT = 128  # of them the commonest, whatever they are
SHADE = 4  # bits a channel by which colours that differ less are one shade
COLOUR_TYPES = {2: 3, 6: 4}  # bytes a pixel: RGB, RGBA


def with_palette(png: bytes) -> bytes:
    """
    The same picture with a palette; transparency is dropped.

    Raises:
        ValueError: it is not of 8 bits a channel, RGB or RGBA, not interlaced.
    """
    width, height, pixels = _pixels(png)
    colours = Counter(pixels)
    palette = _palette(colours)
    index = {colour: number for number, colour in enumerate(palette)}
    for colour in colours:
        if colour not in index:
            index[colour] = min(range(len(palette)), key=lambda number: _distance(colour, palette[number]))
    rows = (bytes(index[pixel] for pixel in pixels[y * width : (y + 1) * width]) for y in range(height))
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", data), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _palette(colours: Counter[bytes]) -> list[bytes]:
    common = [colour for colour, _ in colours.most_common()]
    shades = dict.fromkeys(map(_shade, common[:EXACT]))
    further = []
    for colour in common[EXACT:]:
        if _shade(colour) not in shades:
            shades[_shade(colour)] = None
            further.append(colour)
    return [*common[:EXACT], *further][:MOST]


def _shade(colour: bytes) -> bytes:
    return bytes(channel >> (8 - SHADE) for channel in colour)


def _distance(one: bytes, other: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _pixels(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height, and each pixel's red, green and blue."""
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name = png[at + 4 : at + 8]
        chunks[name] = chunks.get(name, b"") + png[at + 8 : at + 8 + length]
        at += length + 12
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if depth != 8 or kind not in COLOUR_TYPES or interlace:
        raise ValueError("a PNG of another kind")
    size = COLOUR_TYPES[kind]
    flat = _unfiltered(zlib.decompress(chunks[b"IDAT"]), width * size, size)
    return width, height, [bytes(flat[i : i + 3]) for i in range(0, len(flat), size)]


def _unfiltered(data: bytes, stride: int, size: int) -> bytearray:
    """The bytes of the pixels (W3C PNG §9.2)."""
    flat, before = bytearray(), bytearray(stride)
    for start in range(0, len(data), stride + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + stride])
        for i in range(stride if kind else 0):
            left, corner = (row[i - size], before[i - size]) if i >= size else (0, 0)
            above = before[i]
            row[i] = (row[i] + (0, left, above, (left + above) // 2, _paeth(left, above, corner))[kind]) & 255
        flat += row
        before = row
    return flat


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
