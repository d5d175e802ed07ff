"""The configuration's reference is made from the model, and says of every key what it is."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from oidcgate.config.model import Config
from tests.docs.pages import ROOT, text_of

TOOL = ROOT / "tools" / "configuration-reference"
PAGE = "docs/configuration.md"
COLUMNS = re.compile(r"(?<!\\)\|")


def test_fresh() -> None:
    """The page is what the tool makes of the model now."""
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def rows() -> Iterator[tuple[str, list[str]]]:
    """Each key's path and its row's cells."""
    section = ""
    for line in text_of(PAGE).splitlines():
        if line.startswith("#"):
            section = "" if line == "## At the top" else line.lstrip("# ") + "."
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in COLUMNS.split(line)[1:-1]]
            yield section + cells[0].strip("`"), cells


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the model that holds a value of its own."""
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        many = "[]" if inner is not None and "tuple" in str(field.annotation) else ""
        if inner is None:
            yield prefix + name
        else:
            yield from keys(inner, f"{prefix}{name}{many}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part))), None)


def test_every_key() -> None:
    """Each key of the model has a row, with a type, a default and what it is for; no other has."""
    found = dict(rows())
    sections = {path for path, cells in found.items() if cells[4].startswith("see [")}
    assert set(found) - sections == set(keys(Config))
    assert [path for path, cells in found.items() if len(cells) != 5 or not (cells[1] and cells[2] and cells[4])] == []


def test_what_a_row_says() -> None:
    """Types in words, defaults as one writes them, bounds in the key's own unit."""
    found = dict(rows())
    assert found["provider.leeway"][1:4] == ["duration", "`10s`", "≥ 0s, ≤ 5m"]
    assert found["limits.head"][1:4] == ["size", "`64KiB`", "≥ 4KiB"]
    assert found["session.max_per_user"][1:4] == ["number", "`20`", "≥ 1"]
    assert found["provider.issuer"][1:4] == ["text", "needed", ""]
    assert found["sites[].identity"][1:3] == ["one of `token`, `impersonate`, `none`", "`token`"]
