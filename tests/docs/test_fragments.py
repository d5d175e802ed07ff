"""Each YAML block of the documentation is what it says to be: a configuration, Dex's, or Kubernetes'."""

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from oidcgate.config.load import parse_config
from tests.docs import dex
from tests.docs.fragments import chart_values, chart_with, kind_of, of_site, whole
from tests.docs.pages import Block, pages, yaml_blocks

FOUND = [pytest.param(block, documents, id=str(block)) for page in pages() for block, documents in yaml_blocks(page)]

# What is neither the gate's, nor Dex's, nor Kubernetes': by page, with a key that stands in it.
OTHERS = {
    ("docs/ui-headlamp.md", "config"): "Headlamp's Helm values",
    ("docs/monitoring.md", "scrape_configs"): "Prometheus' own",
    ("docs/migration-from-oauth2-proxy.md", "nginx.ingress.kubernetes.io/auth-url"): "annotations, shown alone",
}

# kube-apiserver's own file is no object of its API (KEP-3331; k8s.io/apiserver/pkg/apis/apiserver/v1).
CLAIM = dex.section(claim=dex.TEXT, prefix=dex.TEXT, expression=dex.TEXT)
AUTHENTICATION = dex.section(
    "apiVersion",
    "kind",
    "jwt",
    apiVersion={"enum": ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"]},
    kind={"const": "AuthenticationConfiguration"},
    jwt=dex.many(
        dex.section(
            "issuer",
            "claimMappings",
            issuer=dex.section(
                "url",
                "audiences",
                url={"type": "string", "pattern": "^https://"},
                discoveryURL=dex.TEXT,
                certificateAuthority=dex.TEXT,
                audiences={"type": "array", "items": dex.TEXT, "minItems": 1},
                audienceMatchPolicy={"enum": ["", "MatchAny"]},
            ),
            claimMappings=dex.section("username", username=CLAIM, groups=CLAIM, uid=CLAIM, extra={"type": "array"}),
            claimValidationRules={"type": "array"},
            userValidationRules={"type": "array"},
        )
    ),
    anonymous={"type": "object"},
)
# Objects of other projects' APIs, whose definitions the tests of the manifests have.
DEFINED_ELSEWHERE = {"HTTPRoute", "Gateway", "ServiceMonitor", "PodMonitor", "PrometheusRule"}


def problems(block: Block, document: Any) -> list[str]:
    """What is wrong with a document, by its own kind's rules."""
    if isinstance(document, dict) and any((block.page, key) in OTHERS for key in document):
        return []
    match kind_of(document):
        case "gate":
            parse_config(whole(document), folder=Path("/etc/oidcgate"), files=False)
        case "site":
            parse_config(of_site(document), folder=Path("/etc/oidcgate"), files=False)
        case "dex":
            return dex.problems(document)
        case "client":
            return dex.problems(document, dex.many(dex.WHOLE_CLIENT) if isinstance(document, list) else dex.CLIENT)
        case "chart":
            if inner := document.get("config"):
                parse_config(whole(inner), folder=Path("/etc/oidcgate"), files=False)
            found = jsonschema.Draft202012Validator(chart_values()).iter_errors(chart_with(document))
            return [f"{error.json_path}: {error.message}" for error in found]
        case "kubernetes":
            return kubernetes_problems(document)
        case _:
            return [f"nobody knows what this is: {sorted(document) if isinstance(document, dict) else document}"]
    return []


def kubernetes_problems(document: dict[str, Any]) -> list[str]:
    """What Kubernetes' own schemas say."""
    if document["kind"] == "AuthenticationConfiguration":
        found = jsonschema.Draft202012Validator(AUTHENTICATION).iter_errors(document)
        return [f"{error.json_path}: {error.message}" for error in found]
    if document["kind"] in DEFINED_ELSEWHERE:
        return []
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@pytest.mark.parametrize(("block", "documents"), FOUND)
def test_block(block: Block, documents: list[Any]) -> None:
    """It goes through the check of the program that it is for."""
    assert [problem for document in documents for problem in problems(block, document)] == []


def test_the_list_of_others_only_shrinks() -> None:
    """What is shown no more leaves the list."""
    shown = {
        (page, key)
        for page in pages()
        for _, documents in yaml_blocks(page)
        for document in documents
        if isinstance(document, dict)
        for key in document
    }
    assert [entry for entry in OTHERS if entry not in shown] == []


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"sites": []}, "gate"),
        ({"provider": {"audience": "one"}, "access": {}}, "site"),
        ({"expiry": {}, "staticClients": []}, "dex"),
        ([{"id": "kubectl", "public": True}], "client"),
        ({"apiVersion": "v1", "kind": "Pod"}, "kubernetes"),
        ({"sites": [], "site": []}, "other"),
        ([], "other"),
        ("text", "other"),
    ],
)
def test_kinds(document: Any, kind: str) -> None:
    """A block is told by its keys; one misspelled key makes it nobody's."""
    assert kind_of(document) == kind


def test_dex_is_read_by_key() -> None:
    """A key that Dex passes over in silence is told, in a connector too."""
    connector = {"type": "ldap", "id": "x", "name": "x", "config": {"host": "h", "userSearch": {"baseDn": "d"}}}
    found = dex.problems({"issuer": "https://dex", "expiry": {"idToken": "1h"}, "connectors": [connector]})
    assert len(found) == 4
    assert "'idToken' was unexpected" in found[0]
    assert dex.problems([{"id": "a", "name": "a", "secret": "s"}], dex.many(dex.WHOLE_CLIENT)) == []
    assert dex.problems([{"id": "a", "secret": "s"}, {"id": "b", "name": "b"}], dex.many(dex.WHOLE_CLIENT)) != []
    assert any("x.userSearch" in problem and "'baseDn' was unexpected" in problem for problem in found)


def test_kubernetes_is_read_by_its_schemas() -> None:
    """A misspelled field is told."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"container": []}}
    assert kubernetes_problems(pod) != []
    jwt = [{"issuer": {"url": "http://dex", "audiences": []}, "claimMapping": {}}]
    file = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt}
    assert len(kubernetes_problems(file)) == 4
