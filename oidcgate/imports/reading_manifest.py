"""
oauth2-proxy's part of a Kubernetes manifest, a Compose file or a plain list of arguments.

Pure. Arguments, variables and the files in a ConfigMap; what comes from a Secret is known by name only.
"""

from dataclasses import dataclass, field
from typing import Any

from oidcgate.imports.flags import ENVIRONMENT

MOST_NESTED = 30  # levels; a deployment has ten


@dataclass(slots=True)
class Manifest:
    """
    What was found.

    Attributes:
        hidden: variables that are set, to what is not said.
        files: the texts in a ConfigMap, by name.
    """

    tokens: list[str] = field(default_factory=list, repr=False)
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    hidden: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict, repr=False)


def read_manifest(document: Any) -> Manifest:
    """Everything in one YAML document that looks like oauth2-proxy's."""
    found = Manifest()
    _walk(document, found, 0)
    return found


def _walk(node: Any, found: Manifest, depth: int) -> None:
    if depth > MOST_NESTED:
        return
    if isinstance(node, dict):
        _mapping(node, found, depth)
    elif isinstance(node, list):
        texts = [item for item in node if isinstance(item, str)]
        if any(text.startswith("--") for text in texts):
            found.tokens += texts
        for text in texts:
            name, equals, value = text.partition("=")
            if equals and name.startswith(ENVIRONMENT):
                found.variables[name] = value
        for item in node:
            _walk(item, found, depth + 1)


def _mapping(node: dict[Any, Any], found: Manifest, depth: int) -> None:
    image = node.get("image")
    if isinstance(image, str) and "oauth2" not in image:
        return  # another container of the same pod
    if node.get("kind") == "Secret":
        return
    if node.get("kind") == "ConfigMap" and isinstance(node.get("data"), dict):
        _data(node["data"], found)
        return
    name = node.get("name")
    if isinstance(name, str) and name.startswith(ENVIRONMENT):
        if "value" in node:
            found.variables[name] = _text(node["value"])
        else:
            found.hidden.add(name)
        return
    for key, value in node.items():
        if isinstance(key, str) and key.startswith(ENVIRONMENT):
            found.variables[key] = _text(value)
        else:
            _walk(value, found, depth + 1)


def _data(data: dict[Any, Any], found: Manifest) -> None:
    for key, value in data.items():
        if str(key).startswith(ENVIRONMENT):
            found.variables[str(key)] = _text(value)
        elif isinstance(value, str) and str(key).endswith((".cfg", ".toml", ".yaml", ".yml")):
            found.files[str(key)] = value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
