"""The bill of materials of what is installed for a running gate (CycloneDX), and whether we may ship with it."""

import json
import sys
from pathlib import Path
from typing import Any

from tools.release.contents import PACKAGE
from tools.release.report import require, run

OF_THIS_BUILD = ("externalReferences", "properties")  # name the file that it was installed from
# Licences of dependencies that go with Apache-2.0 in one program, by SPDX identifier or as a package writes it.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache License 2.0",
        "Apache Software License",
        "BSD License",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-3-Clause License",
        "ISC",
        "MIT",
        "MIT License",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Python Software Foundation License",
    }
)


def write_sbom(python: Path, target: Path) -> str:
    """
    Write the bill of an environment, which is a bill of our package, and hold it to CycloneDX's own schema.

    Raises:
        CheckFailed: it cannot be written, or is not valid.
    """
    from cyclonedx.schema import SchemaVersion  # the tests of this file's other half do without
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.V1_6
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    told = run(
        *command, "--spec-version", version.to_version(), "--output-format", "JSON", "--output-file", "-", python
    )
    bill = json.loads(told)
    (ours,) = [component for component in bill["components"] if component["name"] == PACKAGE]
    bill["components"].remove(ours)
    bill["metadata"]["component"] = {name: value for name, value in ours.items() if name not in OF_THIS_BUILD}
    text = json.dumps(bill, indent=2) + "\n"
    error = JsonStrictValidator(version).validate_str(text)
    require(error is None, f"not valid: {error}")
    require(any(component["name"] == "aiohttp" for component in bill["components"]), "aiohttp is not in it")
    target.write_text(text)
    return f"{len(bill['components'])} components, CycloneDX {bill['specVersion']}"


def check_licences(bill: Path) -> str:
    """
    Every component has a licence that we may ship with.

    Raises:
        CheckFailed: one has none, or another one.
    """
    components = json.loads(bill.read_text())["components"]
    found = {component["name"]: licences_of(component) for component in components}
    refused = [f"{name} ({' | '.join(sorted(told)) or 'none'})" for name, told in found.items() if not may_ship(told)]
    require(not refused, f"not on the list: {', '.join(refused)}")
    return ", ".join(sorted(set().union(*found.values())))


def licences_of(component: dict[str, Any]) -> set[str]:
    """The licences that a component names, each as SPDX identifier, expression or name."""
    named = set()
    for entry in component.get("licenses", []):
        licence = entry.get("license", {})
        named.add(entry.get("expression") or licence.get("id") or licence.get("name", ""))
    return {name.removeprefix("License :: OSI Approved :: ").removeprefix("License :: ") for name in named}


def may_ship(licences: set[str]) -> bool:
    """Whether all that is named is allowed; of a choice (OR) one is enough."""
    return bool(licences) and all(is_allowed(name) for name in licences)


def is_allowed(expression: str) -> bool:
    """An SPDX expression of AND and OR without brackets; of each OR one side is enough."""
    choices = expression.split(" OR ")
    return any(all(part.strip() in ALLOWED for part in choice.split(" AND ")) for choice in choices)
