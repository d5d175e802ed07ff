"""Traefik's custom resources as text."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from oidcgate.snippets.plan import Plan
from oidcgate.snippets.traefik_crd import render
from tests.snippets.plans import ALL, LOCAL, ONE, TLS, UNCHECKED, WILD

CLUSTER = replace(ONE, gate="http://gate.login.svc:8080", upstream="http://web.dash.svc.cluster.local")


def resources(plan: Plan) -> dict[tuple[str, str, str], Any]:
    """The specifications by kind, namespace and name."""
    found = list(yaml.safe_load_all(render(plan)))
    assert {item["apiVersion"] for item in found} == {"traefik.io/v1alpha1"}
    keys = [(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"]) for item in found]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, (item["spec"] for item in found), strict=True))


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_everything_referred_to_is_there(plan: Plan) -> None:
    """Middlewares are in their route's own namespace, since others are refused by default."""
    found = resources(plan)
    for (kind, namespace, _), spec in found.items():
        if kind == "IngressRoute":
            assert spec["entryPoints"] == ["websecure" if plan.ends_tls else "web"]
            assert ("tls" in spec) == plan.ends_tls
            names = [item["name"] for route in spec["routes"] for item in route.get("middlewares", ())]
            assert all(("Middleware", namespace, name) in found for name in names)
    assert re.findall(r"<[a-z_]+>", render(plan)) == []


def test_the_question() -> None:
    """It is put to the gate's Service, and the answer's headers replace the client's."""
    asked = resources(CLUSTER)["Middleware", "dash", "oidcgate"]["forwardAuth"]
    assert asked["address"] == "http://gate.login.svc:8080/oauth2/auth/traefik"
    assert asked["trustForwardHeader"] is False
    assert asked["authResponseHeaders"] == list(ONE.identity_headers)
    assert re.fullmatch(asked["authResponseHeadersRegex"], "Impersonate-Extra-Scopes")


def test_the_ui() -> None:
    """Each request is asked about; streams are not held back."""
    route = resources(CLUSTER)["IngressRoute", "dash", "ui-example-com"]["routes"][0]
    assert route["match"] == "Host(`ui.example.com`)"
    assert route["middlewares"] == [{"name": "oidcgate"}]
    (service,) = route["services"]
    assert (service["name"], service["port"]) == ("web", 80)
    assert service["responseForwarding"] == {"flushInterval": "-1ms"}


def test_a_wildcard_comes_last() -> None:
    """The login's own host has a shorter rule, which Traefik would put behind it."""
    assert resources(WILD)["IngressRoute", "ui", "k8s-example-com"]["routes"][0]["priority"] == 1


def test_own_paths() -> None:
    """The login is reached through the UI's host, the question is not; with a shared cookie neither is."""
    closed, own = resources(CLUSTER)["IngressRoute", "login", "ui-example-com-oidcgate"]["routes"]
    assert closed["priority"] > own["priority"]
    assert closed["services"] == [{"kind": "TraefikService", "name": "noop@internal"}]
    assert closed["middlewares"] == [{"name": "nobody"}]
    assert own["services"] == [{"name": "gate", "port": 8080}]
    assert [key for key in resources(WILD) if key[1] == "oidcgate"] == []


def test_one_namespace_for_both() -> None:
    """What both need is there once."""
    same = replace(CLUSTER, upstream="http://web.login.svc")
    assert [key for key in resources(same) if key[2] == "nobody"] == [("Middleware", "login", "nobody")]


def test_certificates_behind_it() -> None:
    """The UI's is checked as the configuration says."""
    found = resources(TLS)
    service = found["IngressRoute", "dashboard", "ui-example-com"]["routes"][0]["services"][0]
    assert (service["scheme"], service["serversTransport"]) == ("https", "ui-example-com")
    transport = found["ServersTransport", "dashboard", "ui-example-com"]
    assert transport == {"rootCAs": [{"secret": "ui-example-com-ca"}], "serverName": "kong.internal"}
    unchecked = resources(UNCHECKED)["ServersTransport", "dashboard", "ui-example-com"]
    assert unchecked["insecureSkipVerify"] is True


def test_what_the_entry_points_need() -> None:
    """It is out of reach here, so the text says it."""
    assert "--entryPoints.websecure.http.aliasHeadersStrategy=delete" in render(ONE)
    assert "--entryPoints.web.http.aliasHeadersStrategy=delete" in render(LOCAL)
