"""Envoy Gateway's resources as text."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from oidcgate.snippets import envoy
from oidcgate.snippets.envoy_gateway import render
from oidcgate.snippets.plan import Plan
from tests.snippets.plans import ALL, ONE, TLS, WILD

CLUSTER = replace(ONE, gate="http://gate.login.svc:8080", upstream="http://web.dash.svc.cluster.local")


def resources(plan: Plan) -> dict[tuple[str, str, str], Any]:
    """The specifications by kind, namespace and name."""
    found = list(yaml.safe_load_all(render(plan)))
    return {(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]): item["spec"] for item in found}


def question(plan: Plan) -> Any:
    """How the gate is asked."""
    return next(spec for (kind, _, _), spec in resources(plan).items() if kind == "SecurityPolicy")["extAuth"]


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_shape(plan: Plan) -> None:
    """The policies are for the UI's route alone, in its namespace; nothing is left to fill in."""
    found = resources(plan)
    for (kind, namespace, _), spec in found.items():
        if kind in ("SecurityPolicy", "EnvoyExtensionPolicy"):
            (target,) = spec["targetRefs"]
            assert target["kind"] == "HTTPRoute"
            assert ("HTTPRoute", namespace, target["name"]) in found
        if kind == "HTTPRoute":
            assert spec["hostnames"] == [plan.host.partition(":")[0]]
    assert re.findall(r"<[a-z_]+>", render(plan)) == []


def test_the_question() -> None:
    """Where it is put; it fails closed, and cookies are named, which Envoy else keeps from the gate."""
    asked = question(replace(CLUSTER, prefix="/gate"))
    assert asked["failOpen"] is False
    assert asked["timeout"] == "10s"
    assert {"Cookie", "Origin", "Sec-Fetch-Mode", "Sec-WebSocket-Key"} <= set(asked["headersToExtAuth"])
    assert asked["http"] == {
        "backendRefs": [{"name": "gate", "namespace": "login", "port": 8080}],
        "path": "/gate/auth/envoy",
        "headersToBackend": list(ONE.identity_headers),
    }


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_after_the_answer(plan: Plan) -> None:
    """Cookies and claims are taken out by the same program as in Envoy's own file."""
    policy = next(spec for (kind, _, _), spec in resources(plan).items() if kind == "EnvoyExtensionPolicy")
    assert policy["lua"] == [{"type": "Inline", "inline": envoy.lua(plan)}]


def test_the_whole_gateway() -> None:
    """Paths are not touched, and names with underscores do not pass."""
    policy = resources(ONE)["ClientTrafficPolicy", "gateway", "oidcgate"]
    assert policy["path"] == {"escapedSlashesAction": "KeepUnchanged", "disableMergeSlashes": True}
    assert policy["headers"] == {"withUnderscoresAction": "DropHeader"}


def test_own_paths() -> None:
    """The login is reached through the UI's host, the question gets 404; with a shared cookie neither is there."""
    found = resources(CLUSTER)
    closed, own = found["HTTPRoute", "login", "ui-example-com-oidcgate"]["rules"]
    (refusal,) = closed["filters"]
    assert found["HTTPRouteFilter", "login", refusal["extensionRef"]["name"]] == {"directResponse": {"statusCode": 404}}
    prefix, spelled = (match["path"]["value"] for match in closed["matches"])
    assert prefix == "/oauth2/auth"
    for path in ("/oauth2//auth", "/oauth2/%61uth", "/oauth2/x/../auth"):
        assert re.fullmatch(spelled, path)
    assert not re.fullmatch(spelled, "/oauth2/callback/dex-2")
    assert own["backendRefs"] == [{"name": "gate", "namespace": "login", "port": 8080}]
    assert [kind for kind, _, _ in resources(WILD)].count("HTTPRoute") == 1


def test_without_a_token() -> None:
    """Where the gate sends no token, the client's own goes to the gate and no further."""
    plan = replace(CLUSTER, headers=("x-auth-request",))
    (rule,) = resources(plan)["HTTPRoute", "dash", "ui-example-com"]["rules"]
    assert rule["filters"][0]["requestHeaderModifier"] == {"remove": ["Authorization"]}
    (rule,) = resources(CLUSTER)["HTTPRoute", "dash", "ui-example-com"]["rules"]
    assert "filters" not in rule


def test_the_grant() -> None:
    """The policy may refer to the gate's Service."""
    grant = resources(TLS)["ReferenceGrant", "login", "ui-example-com"]
    assert grant["from"] == [{"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": "dashboard"}]
