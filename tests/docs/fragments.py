"""What a YAML block of a page is: a configuration of the gate or a part of one, Dex's, Kubernetes', or another program's."""

import json
from functools import cache
from typing import Any

import yaml

from oidcgate.config.model import Config, Site
from tests.docs.dex import CLIENT_KEYS, TOP_KEYS
from tests.docs.pages import ROOT
from tests.support.stack import merged

PROVIDER = {"issuer": "https://dex.example.com", "client_id": "oidcgate", "client_secret_file": "client-secret"}
ADDRESS = "https://ui.example.com"


def whole(document: dict[str, Any]) -> dict[str, Any]:
    """A configuration with what it leaves out because it does not matter there."""
    full = {"provider": PROVIDER, "sites": [{"url": ADDRESS, "upstream": {"url": "http://ui:8080"}}], **document}
    return {**full, "provider": {**PROVIDER, **full["provider"]}}


def of_site(document: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose only site has these keys."""
    return whole({"sites": [{"url": ADDRESS, "upstream": {"url": "http://ui:8080"}, **document}]})


@cache
def chart_values() -> dict[str, Any]:
    """The JSON Schema of the Helm chart's values."""
    found = json.loads((ROOT / "deploy/helm/oidcgate/values.schema.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def chart_with(values: dict[str, Any]) -> dict[str, Any]:
    """The chart's values with some of them set."""
    return merged(yaml.safe_load((ROOT / "deploy/helm/oidcgate/values.yaml").read_text(encoding="utf-8")), values)


def kind_of(document: Any) -> str:
    """
    Whose a block is, by its keys: ``gate``, ``site``, ``dex``, ``client`` (of Dex), ``kubernetes``, ``chart`` (its values), or ``other``.

    A key that two of them have is the gate's, when all the others are as well.
    """
    if isinstance(document, list):
        is_dex = all(isinstance(item, dict) and set(item) <= CLIENT_KEYS for item in document)
        return "client" if document and is_dex else "other"
    if not isinstance(document, dict):
        return "other"
    keys = set(document)
    known = {
        "kubernetes": {"apiVersion", "kind"} <= keys,
        "gate": keys <= set(Config.model_fields),
        "site": keys <= set(Site.model_fields),
        "dex": keys <= TOP_KEYS,
        "client": keys <= CLIENT_KEYS,
        "chart": keys <= set(chart_values()["properties"]),
    }
    return next((name for name, is_so in known.items() if is_so), "other")
