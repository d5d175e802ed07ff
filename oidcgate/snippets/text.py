"""
Filling in templates whose languages use braces and dollars for themselves.

Pure.
"""

import re
from collections.abc import Iterable

# Alone on its line, or within one; (?<name>...) is a regular expression's.
PLACE = re.compile(r"^(?P<indent>[ \t]*)<(?P<lines>[a-z_]+)>\n|(?<!\?)<(?P<word>[a-z_]+)>", re.MULTILINE)


def fill(template: str, **values: str | Iterable[str]) -> str:
    """
    The template with each ``<name>`` replaced; a name that stands alone on its line takes lines, or none.

    Raises:
        KeyError: the template has a name without a value.
    """

    def filled(match: re.Match[str]) -> str:
        if match["word"]:
            return str(values[match["word"]])
        value = values[match["lines"]]
        lines = value.splitlines() if isinstance(value, str) else value
        return "".join((match["indent"] + line).rstrip() + "\n" for line in lines)

    return PLACE.sub(filled, template)
