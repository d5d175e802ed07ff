"""Gateway API's resources as text."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from oidcgate.snippets.gateway_api import Service, gate_service, render, ui_service
from oidcgate.snippets.plan import Plan
from tests.snippets.plans import ALL, HEADLAMP, LOCAL, ONE, WILD

CLUSTER = replace(ONE, gate="http://gate.login.svc:8080", upstream="http://web.dash.svc.cluster.local")


def resources(plan: Plan) -> dict[tuple[str, str, str], Any]:
    """The specifications by kind, namespace and name."""
    found = list(yaml.safe_load_all(render(plan)))
    return {(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"] for item in found}


def filters(plan: Plan) -> dict[str, Any]:
    """The filters of the UI's only rule."""
    ui = next(spec for (kind, _, _), spec in resources(plan).items() if kind == "HTTPRoute")
    (rule,) = ui["rules"]
    return {item["type"]: item[item["type"][0].lower() + item["type"][1:]] for item in rule["filters"]}


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_shape(plan: Plan) -> None:
    """Routes for the host without its port, and nothing is left to fill in."""
    for (kind, _, _), spec in resources(plan).items():
        if kind == "HTTPRoute":
            assert spec["hostnames"] == [plan.host.partition(":")[0]]
    assert re.findall(r"<[a-z_]+>", render(plan)) == []


@pytest.mark.parametrize("plan", [ONE, HEADLAMP], ids=["one", "headlamp"])
def test_identity(plan: Plan) -> None:
    """What the gate says is copied; of other claims the 16 that the API drops, and none of what the gate says."""
    asked = filters(plan)["ExternalAuth"]
    assert asked["http"]["allowedResponseHeaders"] == list(plan.identity_headers)
    removed = filters(plan)["RequestHeaderModifier"]["remove"]
    assert len(removed) == 16
    assert not set(removed) & set(plan.identity_headers)
    assert {"Impersonate-User", "X-Remote-User", "jweToken"} <= set(removed)


def test_names_that_the_gate_does_not_set() -> None:
    """They are dropped before all others."""
    removed = filters(replace(ONE, headers=("x-auth-request",)))["RequestHeaderModifier"]["remove"]
    assert {"Authorization", "X-Forwarded-User", "Impersonate-User"} <= set(removed)
    assert "X-Forwarded-User" in filters(ONE)["RequestHeaderModifier"]["remove"]


def test_the_question() -> None:
    """Asked in Envoy's way, with all that the gate judges by."""
    asked = filters(replace(CLUSTER, prefix="/gate"))["ExternalAuth"]
    assert asked["protocol"] == "HTTP"
    assert asked["backendRef"] == {"name": "gate", "namespace": "login", "port": 8080}
    assert asked["http"]["path"] == "/gate/auth/envoy"
    assert {"Cookie", "Origin", "Sec-Fetch-Mode", "Sec-WebSocket-Key"} <= set(asked["http"]["allowedHeaders"])


def test_own_paths() -> None:
    """The login is reached through the UI's host, the question has no backend; with a shared cookie neither is there."""
    closed, own = resources(CLUSTER)["HTTPRoute", "login", "ui-example-com-oidcgate"]["rules"]
    assert closed == {"matches": [{"path": {"type": "PathPrefix", "value": "/oauth2/auth"}}]}
    assert own["backendRefs"] == [{"name": "gate", "namespace": "login", "port": 8080}]
    assert [kind for kind, _, _ in resources(WILD)] == ["HTTPRoute", "ReferenceGrant"]


def test_the_grant() -> None:
    """The UI's route may refer to the gate's Service."""
    grant = resources(CLUSTER)["ReferenceGrant", "login", "ui-example-com"]
    assert grant["from"][0]["namespace"] == "dash"
    assert grant["to"][0]["name"] == "gate"


def test_services() -> None:
    """A Service's address names it; any other is a place to fill in."""
    assert gate_service(CLUSTER) == Service("gate", "login", 8080)
    assert ui_service(CLUSTER) == Service("web", "dash", 80)
    assert ui_service(replace(ONE, upstream="https://web.dash.svc")) == Service("web", "dash", 443)
    assert gate_service(ONE) == Service("oidcgate", "oidcgate", 8080)
    assert ui_service(LOCAL) == ui_service(replace(ONE, upstream="http://localhost:81")) == Service("ui", "ui", 80)
    assert gate_service(replace(ONE, gate="http://gate:81")) == Service("gate", "oidcgate", 81)
    assert gate_service(replace(ONE, gate="unix:/run/gate.sock")) == Service("oidcgate", "oidcgate", 8080)
