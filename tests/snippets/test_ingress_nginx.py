"""Ingress objects; tests/journeys/test_peer_ingress_nginx.py runs what the controller would make of them."""

import re
from typing import Any

import pytest
import yaml

from oidcgate.snippets.ingress_nginx import render, service
from oidcgate.snippets.plan import Plan
from tests.snippets.plans import ALL, LOCAL, ONE, TLS, WILD

PREFIX = "nginx.ingress.kubernetes.io/"
# As the controller checks them (internal/ingress/annotations/parser/validators.go).
NAMES = re.compile(r"[A-Za-z0-9-_, ]*")


def objects(plan: Plan) -> list[dict[str, Any]]:
    """The printed text, parsed."""
    return list(yaml.safe_load_all(render(plan)))


def annotations(plan: Plan, number: int = 0) -> dict[str, str]:
    """Annotations of one object."""
    found = objects(plan)[number]["metadata"]["annotations"]
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_shape(plan: Plan) -> None:
    """Every object is an Ingress for the host, all annotations are strings, nothing is left to fill in."""
    for ingress in objects(plan):
        assert (ingress["apiVersion"], ingress["kind"]) == ("networking.k8s.io/v1", "Ingress")
        assert ingress["spec"]["rules"][0]["host"] == plan.host.partition(":")[0]
        assert bool(ingress["spec"].get("tls")) == plan.ends_tls
        assert {type(value) for value in ingress["metadata"]["annotations"].values()} == {str}
    assert re.findall(r"<[a-z_]+>", render(plan)) == []


def test_the_question() -> None:
    """Where it is put, which headers count, and room for the answer; nothing is cached."""
    found = annotations(ONE)
    assert found["auth-url"] == "http://127.0.0.1:8080/oauth2/auth/nginx?host=$host"
    names = found["auth-response-headers"]
    assert NAMES.fullmatch(names)
    assert {"Authorization", "X-Auth-Request-Email", "Impersonate-User", "X-Original-URL"} <= set(names.split(","))
    assert len(names.split(",")) == len(set(names.split(",")))
    assert found["proxy-buffer-size"] == "64k"
    assert "auth-cache-key" not in found


def test_sign_in() -> None:
    """On the host itself with the path, or on the login's host, where the controller adds the whole address."""
    assert annotations(ONE)["auth-signin"] == "https://ui.example.com/oauth2/start?rd=$escaped_request_uri"
    assert annotations(LOCAL)["auth-signin"] == "http://ui.localhost:8443/oauth2/start?rd=$escaped_request_uri"
    assert annotations(WILD)["auth-signin"] == "https://login.k8s.example.com/oauth2/start"


def test_who_serves_what() -> None:
    """The UI, the gate's own pages, and a closed door; with a shared cookie only the UI."""
    ui, own, closed = objects(TLS)
    paths = [ingress["spec"]["rules"][0]["http"]["paths"] for ingress in (ui, own, closed)]
    assert [(path["path"], path["backend"]["service"]["name"]) for (path,) in paths] == [
        ("/", "kong"),
        ("/oauth2", "gate"),
        ("/oauth2/auth", "gate"),
    ]
    assert [ingress["metadata"]["namespace"] for ingress in (ui, own, closed)] == ["dashboard", "login", "login"]
    assert annotations(TLS, 2)["denylist-source-range"] == "0.0.0.0/0,::/0"
    assert len(objects(WILD)) == 1


def test_the_dashboard_s_chart_wants_passthrough() -> None:
    """TLS goes to the UI, and never past nginx."""
    assert (annotations(TLS)["backend-protocol"], annotations(TLS)["ssl-passthrough"]) == ("HTTPS", "false")
    assert "proxy-ssl-secret: dashboard/kong-ca" in render(TLS)


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ("http://gate.login.svc:8080", ("gate", "login", 8080)),
        ("https://gate.login.svc.cluster.local", ("gate", "login", 443)),
        ("http://127.0.0.1:8080", ("x", "x", 8080)),
        ("https://gate.example.com", ("x", "x", 443)),
        ("unix:/run/gate.sock", ("x", "x", 80)),
    ],
)
def test_services(origin: str, found: tuple[str, str, int]) -> None:
    """An address within a cluster names a Service; for any other there is a name to replace."""
    assert service(origin, "x") == found
