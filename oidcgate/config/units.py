"""
Durations and sizes as people write them.

Pure. A bare number is refused for durations: ``30`` could be seconds or minutes, and guessing is how limits go wrong.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
DURATION = re.compile(rf"(?:{DURATION_PART.pattern})+")
SIZE = re.compile(r"(\d+)\s*([KMGkmg]i?[Bb]|[Bb]?)")


def parse_duration(text: Any) -> float:
    """
    ``1h30m`` -> 5400.0 (seconds).

    Raises:
        ValueError: not a duration.
    """
    if not isinstance(text, str) or not DURATION.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a duration; write it with a unit, such as 30s, 5m or 12h")
    return sum(float(number) * SECONDS[unit] for number, unit in DURATION_PART.findall(text.strip()))


def parse_size(text: Any) -> int:
    """
    ``64KiB`` or ``65536`` -> 65536 (bytes).

    Raises:
        ValueError: not a size.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError("a size cannot be negative")
        return text
    match = SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a size; write bytes, or a unit such as 64KiB or 5MiB")
    return int(match[1]) * BYTES[match[2].lower()]


def show_duration(seconds: float) -> str:
    """5400.0 -> ``90m``: the largest unit that divides it evenly."""
    for unit in ("h", "m", "s"):
        if seconds >= SECONDS[unit] and seconds % SECONDS[unit] == 0:
            return f"{int(seconds // SECONDS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"


def show_size(count: int) -> str | int:
    """65536 -> ``64KiB``."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit}{name}"
    return count


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(show_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$", "examples": ["30s", "5m", "12h"]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(show_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{SIZE.pattern}$"}]}),
]
