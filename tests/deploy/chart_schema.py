"""
The schema of the chart's values, whose part `config` is the gate's own schema.

`python -m tests.deploy.chart_schema` writes that part anew after a change of the gate's configuration; the rest of the
file is written by hand. What is needed is not said here: the chart's own sentences say it better than a schema does.
"""

import json
from pathlib import Path
from typing import Any

from oidcgate.cli.check import json_schema

FILE = Path(__file__).parents[2] / "deploy" / "helm" / "oidcgate" / "values.schema.json"
FOR_EDITORS = ("default", "examples", "title")
SAID_BY_THE_CHART = ("Config", "Provider", "Site")


def wanted(text: str) -> str:
    """The schema's file as it should be, from what it is."""
    schema = json.loads(text)
    gate = json_schema()
    sections = {
        **gate.pop("$defs"),
        "Config": {key: gate[key] for key in ("type", "additionalProperties", "properties")},
    }
    schema["properties"]["config"] = {"$ref": "#/definitions/Config"}
    schema["definitions"] = {name: _plain(section) for name, section in sorted(sections.items())}
    for name in SAID_BY_THE_CHART:
        schema["definitions"][name].pop("required", None)
    top = schema["definitions"]["Config"]["properties"]
    top["sites"].pop("minItems")
    return json.dumps(schema, indent=2) + "\n"


def _plain(node: Any, *, is_names: bool = False) -> Any:
    """Without what only editors show, and with references as JSON Schema's draft 7 writes them, which checks formats."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if isinstance(node, str):
        return node.replace("#/$defs/", "#/definitions/")
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if is_names or key not in FOR_EDITORS}
    return {key: _plain(value, is_names=key == "properties" and not is_names) for key, value in kept.items()}


if __name__ == "__main__":
    FILE.write_text(wanted(FILE.read_text()))
