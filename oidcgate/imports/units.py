"""
Values as Go writes them.

Pure.
"""

import csv
import re
from urllib.parse import SplitResult, urlsplit

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def parse_go_duration(text: str) -> float | None:
    """``168h0m0s`` -> 604800.0 (seconds); None for what is no duration."""
    if text.strip() == "0":
        return 0.0
    parts = PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def split_list(text: str) -> list[str]:
    """``a,"b,c"`` -> a and b,c: a list in one flag is a line of CSV."""
    return next(iter(csv.reader([text])), [])


def url_parts(text: str) -> SplitResult:
    """A URL's parts; all empty for what is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")
