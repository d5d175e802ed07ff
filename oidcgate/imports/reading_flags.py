"""
A command line in a file: one flag a line or many, as in a shell script, a list of arguments or a systemd unit.

Pure.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from oidcgate.imports.flag import Flag
from oidcgate.imports.flags import FLAGS
from oidcgate.imports.settings import Unreadable

UNIT_KEYS = re.compile(r"^(?!ExecStart=)[A-Z][A-Za-z]+=|^\[[A-Z][A-Za-z]*\]$")  # of a systemd unit
EXEC = re.compile(r"^ExecStart=[-@:+!]*")


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One flag with its value, or something that is none.

    Attributes:
        flag: None when there is no such flag.
        what: then, what is wrong with it.
    """

    flag: Flag | None
    spelled: str
    value: str = field(default="", repr=False)
    what: str = ""


def tokens(text: str, name: str) -> list[str]:
    """
    The words of a command line in a file.

    Raises:
        Unreadable: a quote is not closed.
    """
    found: list[str] = []
    for line in map(str.strip, re.sub(r"\\\n", " ", text).splitlines()):
        if not line or line.startswith(("#", ";")) or UNIT_KEYS.search(line):
            continue
        item = re.fullmatch(r"-\s+(.*?),?", line)
        found += [_unquoted(item[1])] if item else words(EXEC.sub("", line.rstrip(",")), name)
    return found


def words(line: str, name: str) -> list[str]:
    """
    A line as a shell splits it.

    Raises:
        Unreadable: a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError:
        raise Unreadable(f"{name} has a quote that is not closed") from None


def _unquoted(text: str) -> str:
    """An item of a YAML list is one argument, whatever blanks it has."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def arguments(texts: Iterable[str]) -> Iterator[Argument]:
    """Flags with their values, as oauth2-proxy's own parser takes them; words before the first flag are the program."""
    rest = iter(texts)
    last = ""
    for word in rest:
        if not word.startswith("--") or word == "--":
            if last:
                yield Argument(None, last, what="a word after it belongs to no flag; quotes are missing, or it is none")
            continue
        name, equals, value = word[2:].partition("=")
        flag = FLAGS.get(name)
        last = f"--{name}"
        if flag is None:
            yield Argument(None, last, what="no flag")
        elif flag.kind == "bool":
            yield Argument(flag, last, value if equals else "true")
        else:
            yield Argument(flag, last, value if equals else next(rest, ""))
