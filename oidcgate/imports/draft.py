"""
Our configuration while it is being made, with a comment where a person has something to do; as YAML in the end.

Pure. Keys are in the order of ``config.example.yaml``.
"""

import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import yaml

from oidcgate.config.model import Config

WIDTH = 120
FILL_IN = "FILL IN"
Path = tuple[str | int, ...]


def split(path: str) -> Path:
    """``sites.0.url`` -> ``("sites", 0, "url")``."""
    return tuple(int(part) if part.isdigit() else part for part in path.split("."))


class Draft:
    """A tree of values, and comments by path."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self._comments: dict[Path, list[str]] = {}

    def __repr__(self) -> str:
        return f"<Draft {', '.join(self.document)}; {self.to_fill_in} to fill in>"

    @property
    def to_fill_in(self) -> int:
        """How many places wait for a person."""
        return sum(FILL_IN in comment for comments in self._comments.values() for comment in comments)

    def put(self, path: str, value: object, *, comment: str = "", fill_in: str = "") -> None:
        """
        Set a key.

        Args:
            comment: said above it.
            fill_in: the same, for what a person must see to.
        """
        node: Any = self.document
        parts = split(path)
        for part, following in pairwise(parts):
            if isinstance(part, int):
                node.extend({} for _ in range(part + 1 - len(node)))
                node = node[part]
            else:
                node = node.setdefault(part, [] if isinstance(following, int) else {})
        node[parts[-1]] = value
        self.say(path, comment, fill_in=fill_in)

    def say(self, path: str, comment: str = "", *, fill_in: str = "") -> None:
        """Comment on a key that is there."""
        texts = [comment] if comment else []
        texts += [f"{FILL_IN}: {fill_in}"] if fill_in else []
        self._comments.setdefault(split(path), []).extend(texts)

    def get(self, path: str) -> Any:
        """A value; None when there is none."""
        node: Any = self.document
        for part in split(path):
            try:
                node = node[part]
            except (KeyError, IndexError):
                return None
        return node

    def render(self) -> str:
        """The whole as YAML."""
        order = list(Config.model_fields)
        document = {key: self.document[key] for key in sorted(self.document, key=order.index)}
        return "\n".join(self._mapping(document, (), "")) + "\n"

    def _mapping(self, node: dict[str, Any], path: Path, indent: str) -> Iterator[str]:
        for key, value in node.items():
            here = (*path, key)
            yield from self._comment(here, indent)
            if isinstance(value, dict):
                yield f"{indent}{key}:"
                yield from self._mapping(value, here, f"{indent}  ")
            elif isinstance(value, list) and value and isinstance(value[0], dict):
                yield f"{indent}{key}:"
                for index, item in enumerate(value):
                    lines = list(self._mapping(item, (*here, index), f"{indent}    "))
                    first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
                    lines[first] = f"{indent}  - {lines[first].lstrip()}"
                    yield from lines
            else:
                yield f"{indent}{key}: {_scalar(value)}"

    def _comment(self, path: Path, indent: str) -> Iterator[str]:
        for text in self._comments.get(path, []):
            yield from textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _scalar(value: object) -> str:
    """A value or a list of values on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True)
    return text.removesuffix("...\n").strip()
