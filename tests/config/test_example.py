"""`config.example.yaml` is held to the code: every key, its default, and why."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from oidcgate.config.load import load_config
from oidcgate.config.model import Config
from tests.config.support import keys_of

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
DOCUMENT = yaml.safe_load(TEXT)
KEY_LINE = re.compile(r"^ *(?:- )?([a-z_]+):(?: .*?)?  # \S.*$")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part))), None)


def model_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, default and section of every key, in the model's order; sections that are empty by default are one key."""
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        section = section_of(field.annotation)
        if section is not None and (field.is_required() or isinstance(field.default, BaseModel)):
            yield path, None, None
            yield from model_keys(section, path + ("[]" if "tuple" in str(field.annotation) else ""))
        else:
            yield path, field, section


KEYS = list(model_keys(Config))
LEAVES = [pytest.param(path, field, id=path) for path, field, _ in KEYS if field is not None]


def at(path: str) -> Any:
    """What the example has at a path."""
    node = DOCUMENT
    for part in path.split("."):
        node = node[part.removesuffix("[]")]
        if part.endswith("[]"):
            (node,) = node
    return node


def test_loads() -> None:
    """The example is a configuration."""
    config = load_config(EXAMPLE, files=False)
    assert config.sites[0].url == "https://dashboard.example.com"


def test_every_key_in_order() -> None:
    """Each key of the model stands in the example, in the model's order, and no other."""
    assert list(keys_of(DOCUMENT)) == [path for path, _, _ in KEYS]


@pytest.mark.parametrize(("path", "field"), LEAVES)
def test_default(path: str, field: Any) -> None:
    """Each key has its default; those without one have an example."""
    if field.is_required() or path == "sites[].upstream.url":  # left out only where another proxy is in front
        assert "example" in at(path) or path in {"provider.client_id", "sites[].upstream.url"}
        return
    shown = load_config(EXAMPLE, files=False).model_dump(mode="json")
    for part in path.split("."):
        shown = shown[part.removesuffix("[]")]
        shown = shown[0] if part.endswith("[]") else shown
    default = field.default
    if path == "session.state_dir":
        assert at(path) == default
    else:
        assert shown == at(path)
        parsed = load_config(EXAMPLE, files=False)
        value: Any = parsed
        for part in path.split("."):
            value = getattr(value, part.removesuffix("[]"))
            value = value[0] if part.endswith("[]") else value
        assert value == default


@pytest.mark.parametrize("line", [line for line in TEXT.splitlines() if line and not line.startswith("#")])
def test_reason(line: str) -> None:
    """Each key has a line of its own, with why one would change it."""
    assert KEY_LINE.fullmatch(line), line
    assert len(line) <= 140


def test_sections_that_are_empty_by_default() -> None:
    """A section that is absent by default names its keys in its comment."""
    for path, field, section in KEYS:
        if field is not None and section is not None:
            line = next(line for line in TEXT.splitlines() if re.match(rf" *{path.rpartition('.')[2]}:", line))
            assert all(f"{name}:" in line for name in section.model_fields), line
