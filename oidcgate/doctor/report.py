"""
What the doctor has found, as lines for people and as objects for programs.

Pure. A check says things (``Said``); the walk knows of which hop and site they are (``Finding``). Whatever needs doing
names a key: one of the configuration file, or after a colon's mark (``Dex: …``) a setting of somebody else.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

Status = Literal["ok", "warn", "fail", "skip"]

COLOURS: Final = {"ok": "32", "warn": "33", "fail": "31", "skip": "2"}  # SGR codes
COUNTED: Final = {"fail": "failed", "warn": "to look at", "ok": "good", "skip": "skipped"}


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a check says; ``key`` is what to change and ``fix`` how."""

    status: Status
    message: str
    key: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """The same with its place: ``site`` is empty for what is no single site's."""

    hop: str
    site: str
    status: Status
    message: str
    key: str = ""
    fix: str = ""


def ok(message: str) -> Said:
    """It holds."""
    return Said("ok", message)


def warn(message: str, key: str, fix: str) -> Said:
    """It holds for now, or not for everybody."""
    return Said("warn", message, key, fix)


def fail(message: str, key: str, fix: str) -> Said:
    """It does not hold, and people cannot get through."""
    return Said("fail", message, key, fix)


def skip(message: str) -> Said:
    """It was not looked at."""
    return Said("skip", message)


def plain(text: str) -> str:
    """A text in one line that a terminal takes for nothing but text: parts of it were said by servers."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether anything fails."""
    return any(finding.status == "fail" for finding in findings)


def to_json(findings: Sequence[Finding]) -> str:
    """A list of objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False) + "\n"


def to_text(
    findings: Sequence[Finding], *, place: Callable[[str], str], colour: bool, columns: int | None = None
) -> str:
    """
    Lines for people.

    Args:
        place: where a key stands, such as ``gate.yaml:7: provider.issuer``.
        colour: paint the status.
        columns: how wide the screen is; None = lines are not broken.
    """
    width = max((len(finding.hop) for finding in findings), default=0)
    lines: list[str] = []
    site = ""
    for finding in findings:
        if finding.site != site:
            lines += ["", finding.site or "all sites"]
            site = finding.site
        begin = f"  {painted(finding.status, colour)}  {finding.hop:<{width}}  "
        margin = " " * (width + 10)
        lines += broken(begin, finding.message, margin, columns)
        for word, text in (("at", place(finding.key) if finding.key else ""), ("do", finding.fix)):
            lines += broken(f"{margin}{word}   ", text, f"{margin}     ", columns) if text else []
    return "\n".join([*lines, "", summary(findings)]) + "\n"


def broken(begin: str, text: str, margin: str, columns: int | None) -> list[str]:
    """A text behind its beginning, and what does not fit below it."""
    room = len(text) if columns is None else max(columns - len(margin), 40)
    first, *more = textwrap.wrap(text, max(room, 1), break_long_words=False, break_on_hyphens=False) or [""]
    return [begin + first, *(margin + line for line in more)]


def painted(status: Status, colour: bool) -> str:
    """A status, four characters wide on the screen."""
    text = f"{status:<4}"
    return f"\033[{COLOURS[status]}m{text}\033[0m" if colour else text


def summary(findings: Sequence[Finding]) -> str:
    """How many of each, in one line."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {word}" for status, word in COUNTED.items() if counts[status])  # type: ignore[index]
