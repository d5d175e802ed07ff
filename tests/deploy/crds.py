"""
The custom resources that the manifests use, as their own projects define them: Gateway API and the Prometheus operator.

The modules that `tests/lab/crds/go.mod` names carry them as files; the few that are needed are kept in the user's cache.
Gateway API's are of its standard channel.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.lab.go_tools import cached, run

LOCK = Path(__file__).parents[1] / "lab" / "crds"
GATEWAY, MONITORING = "sigs.k8s.io/gateway-api", "github.com/prometheus-operator/prometheus-operator"
STANDARD, OPERATOR = (
    "config/crd/standard/gateway.networking.k8s.io",
    "example/prometheus-operator-crd/monitoring.coreos.com",
)
FILES = {
    GATEWAY: [f"{STANDARD}_{name}.yaml" for name in ("gatewayclasses", "gateways", "httproutes", "referencegrants")],
    MONITORING: [f"{OPERATOR}_{name}.yaml" for name in ("servicemonitors", "podmonitors", "prometheusrules")],
}


def folder() -> Path:
    """
    Where the definitions are, one YAML file each; downloads them first where they are missing.

    Raises:
        RuntimeError: Go is missing, or the modules cannot be had.
    """
    return cached(LOCK, "crds", _fetch)


def _fetch(output: Path) -> None:
    output.mkdir()
    for module in _modules(run(LOCK, "mod", "download", "-json")):
        for file in FILES[module["Path"]]:
            shutil.copyfile(Path(module["Dir"]) / file, output / Path(file).name)


def _modules(text: str) -> Iterator[dict[str, str]]:
    """JSON objects, one after the other."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        found, end = decoder.raw_decode(rest)
        yield found
        rest = rest[end:].lstrip()


@functools.cache
def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    """JSON Schemas by ``apiVersion`` and ``kind``, which refuse fields that they do not know."""
    found = {}
    for file in sorted(folder().glob("*.yaml")):
        definition = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)["spec"]
        for version in definition["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object"}
            key = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
            found[key] = _closed(schema)
    return found


def _closed(node: Any) -> Any:
    """The same schema with a number of fields that ends, as the API server takes it when asked to be strict."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "properties" in node and node.get("type") == "object" and "additionalProperties" not in node:
        closed["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields"))
    return closed
