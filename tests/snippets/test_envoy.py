"""Envoy's configuration as text, and as Envoy reads it; tests/journeys/test_peer_envoy.py runs it."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from oidcgate.proxy.headers import FORWARDING, IDENTITY, PREFIXES
from oidcgate.snippets.envoy import render
from oidcgate.snippets.plan import Plan
from tests.config.support import key_and_certificate, pem
from tests.snippets.plans import ALL, HEADLAMP, LOCAL, ONE, SOCKET, TLS, UNCHECKED, WILD

ENVOY = Path(sys.executable).parent / "envoy"


def parsed(plan: Plan) -> Any:
    """The static resources."""
    return yaml.safe_load(render(plan))["static_resources"]


def manager(plan: Plan) -> Any:
    """The connection manager."""
    return parsed(plan)["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def filters(plan: Plan) -> dict[str, Any]:
    """Its filters in order."""
    return {item["name"].rpartition(".")[2]: item["typed_config"] for item in manager(plan)["http_filters"]}


def routes(plan: Plan) -> list[Any]:
    """Its routes in order."""
    found: list[Any] = manager(plan)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def matchers(node: Any) -> set[str]:
    """A list of matchers: names, and prefixes with a star."""
    return {item.get("exact") or item["prefix"] + "*" for item in node["patterns"]}


@pytest.mark.real
@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_envoy_takes_it(plan: Plan, tmp_path: Path) -> None:
    """The real program finds nothing wrong, nor anything that will go away."""
    key, certificate = key_and_certificate()
    files = {"cert_file": tmp_path / "cert.pem", "key_file": tmp_path / "key.pem"}
    files["cert_file"].write_bytes(certificate)
    files["key_file"].write_bytes(pem(key))
    ca_file = str(files["cert_file"]) if plan.upstream_ca_file else None
    there = replace(plan, upstream_ca_file=ca_file, **{name: str(file) for name, file in files.items()})
    (tmp_path / "envoy.yaml").write_text(render(there))
    command = [ENVOY, "--mode", "validate", "-l", "warning", "-c", tmp_path / "envoy.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_nothing_is_left_to_fill_in(plan: Plan) -> None:
    """It parses, and its filters stand in the order that counts."""
    assert re.findall(r"<[a-z_]+>", render(plan)) == []
    assert list(filters(plan)) == ["ext_authz", "lua", "router"]


def test_the_question() -> None:
    """Where it is put, how long an answer may take, and what happens without one."""
    asked = filters(replace(ONE, prefix="/gate"))["ext_authz"]
    assert asked["failure_mode_allow"] is False
    assert asked["status_on_error"] == {"code": "ServiceUnavailable"}
    assert asked["http_service"]["path_prefix"] == "/gate/auth/envoy"
    assert asked["http_service"]["server_uri"] == {
        "uri": "http://127.0.0.1:8080",
        "cluster": "oidcgate",
        "timeout": "10s",
    }
    assert {"cookie", "origin", "referer", "accept", "sec-fetch-*", "sec-websocket-*", "upgrade"} <= matchers(
        asked["allowed_headers"]
    )
    assert "with_request_body" not in asked


@pytest.mark.parametrize("plan", ALL.values(), ids=ALL)
def test_the_answer(plan: Plan) -> None:
    """Identity goes to the UI and to nobody else; pages go to the browser."""
    answers = filters(plan)["ext_authz"]["http_service"]["authorization_response"]
    identity = {name.lower() for name in plan.identity_headers}
    assert matchers(answers["allowed_upstream_headers"]) == identity
    shown = matchers(answers["allowed_client_headers"])
    assert {"content-type", "cache-control", "content-security-policy", "retry-after"} <= shown
    assert not identity & shown


def test_claims_are_deleted_first() -> None:
    """Before routing, whatever a client says of itself or of its way; its Authorization goes to the gate."""
    (extension,) = manager(ONE)["early_header_mutation_extensions"]
    mutations = extension["typed_config"]["mutations"]
    removed = {item["remove"] for item in mutations if "remove" in item}
    matched = [item["remove_on_match"]["key_matcher"] for item in mutations if "remove_on_match" in item]
    assert removed == (IDENTITY | FORWARDING) - {"authorization"}
    assert {item["prefix"] for item in matched if "prefix" in item} == {*PREFIXES, "x-envoy-"}
    assert {"contains": "."} in matched
    assert manager(ONE)["common_http_protocol_options"] == {"headers_with_underscores_action": "DROP_HEADER"}


def test_paths_are_not_touched() -> None:
    """What is asked about is what the UI gets."""
    found = manager(ONE)
    assert (found["normalize_path"], found["merge_slashes"]) == (False, False)
    assert found["path_with_escaped_slashes_action"] == "KEEP_UNCHANGED"


def test_streams_and_sizes() -> None:
    """Websockets pass, nothing is cut off while it lives, and full cookies fit."""
    found = manager(ONE)
    assert found["upgrade_configs"] == [{"upgrade_type": "websocket"}]
    assert found["stream_idle_timeout"] == "3600s"
    assert found["max_request_headers_kb"] > 64
    ui = routes(ONE)[-1]
    assert ui["match"] == {"prefix": "/"}
    assert ui["route"] == {"cluster": "ui", "timeout": "0s", "idle_timeout": "3600s"}
    assert "typed_per_filter_config" not in ui


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/oauth2/auth", 404),
        ("/oauth2/auth/envoy/", 404),
        ("/oauth2/authx", 404),
        ("/oauth2//auth", 404),
        ("/oauth2/./auth", 404),
        ("/oauth2/x/../auth", 404),
        ("/oauth2/%61uth", 404),
        ("/oauth2%2fauth", 404),
        ("/oauth2;/auth", 404),
        ("/oauth2/start", None),
        ("/oauth2/callback/dex-2.x", None),
        ("/oauth2", None),
        ("/a%2Fb", None),
        ("/a%zz", 400),
        ("/a%2", 400),
        ("/a%", 400),
        ("/a\\b", 400),
    ],
)
def test_closed_paths(path: str, status: int | None) -> None:
    """The question's address, spellings that no page of the gate needs, and such as nobody needs."""
    assert next(status_of(route) for route in routes(ONE) if fits(route["match"], path)) == status


def fits(match: dict[str, Any], path: str) -> bool:
    """Whether a route is for a path."""
    if "safe_regex" in match:
        return re.fullmatch(match["safe_regex"]["regex"], path) is not None
    if "prefix" in match:
        return path.startswith(match["prefix"])
    return path == match["path_separated_prefix"] or path.startswith(match["path_separated_prefix"] + "/")


def status_of(route: dict[str, Any]) -> int | None:
    """The fixed answer, if it is one."""
    status: int | None = route.get("direct_response", {}).get("status")
    return status


def test_own_paths() -> None:
    """The login is reached unasked through the UI's host; with a shared cookie it is elsewhere."""
    (own,) = [route for route in routes(ONE) if route.get("route", {}).get("cluster") == "oidcgate"]
    assert own["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["disabled"] is True
    assert own["typed_per_filter_config"]["envoy.filters.http.lua"]["disabled"] is True
    assert [status_of(route) for route in routes(WILD)] == [400, None]
    assert len(routes(replace(WILD, site=WILD.login, host="login.k8s.example.com"))) == len(routes(ONE))


def test_without_a_token() -> None:
    """Where the gate sends no token, the client's own goes to the gate and no further."""
    assert routes(replace(ONE, headers=("x-auth-request",)))[-1]["request_headers_to_remove"] == ["authorization"]
    assert "request_headers_to_remove" not in routes(ONE)[-1]


def test_hosts() -> None:
    """With and without the port, as browsers and others write it; a wildcard is every host below."""
    found = {plan.host: manager(plan)["route_config"]["virtual_hosts"][0]["domains"] for plan in (ONE, LOCAL, WILD)}
    assert found["ui.example.com"] == ["ui.example.com", "ui.example.com:443"]
    assert found["ui.localhost:8443"] == ["ui.localhost:8443"]
    assert found["*.k8s.example.com"] == ["*.k8s.example.com", "*.k8s.example.com:443"]


def test_where_it_listens() -> None:
    """Address, port and certificate."""
    listener = parsed(LOCAL)["listeners"][0]
    assert listener["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 8443}}
    assert "transport_socket" not in listener["filter_chains"][0]
    context = parsed(TLS)["listeners"][0]["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    assert context["tls_certificates"] == [
        {"certificate_chain": {"filename": "/etc/ssl/site.pem"}, "private_key": {"filename": "/etc/ssl/site.key"}}
    ]


def test_behind_it() -> None:
    """Names are looked up, certificates are checked as the configuration says, sockets are dialled."""
    gate, ui = parsed(TLS)["clusters"]
    assert (gate["name"], gate["type"]) == ("oidcgate", "STRICT_DNS")
    context = ui["transport_socket"]["typed_config"]
    assert (context["sni"], context["auto_sni_san_validation"]) == ("kong.internal", True)
    assert context["common_tls_context"]["validation_context"] == {"trusted_ca": {"filename": "/etc/ssl/ui-ca.pem"}}
    assert "common_tls_context" not in parsed(UNCHECKED)["clusters"][1]["transport_socket"]["typed_config"]
    assert [cluster["type"] for cluster in parsed(ONE)["clusters"]] == ["STATIC", "STATIC"]
    assert "transport_socket" not in parsed(ONE)["clusters"][1]
    assert 'pipe: {path: "/run/oidcgate.sock"}' in render(SOCKET)


def test_cookies_that_stay() -> None:
    """The gate's, and the UI's own tokens, in lower case as they are compared."""
    assert 'local COOKIES = {"oidcgate*"}' in render(ONE)
    assert 'local COOKIES = {"oidcgate*", "token", "jwetoken"}' in render(TLS)
    assert 'local COOKIES = {"oidcgate*", "headlamp-auth-*"}' in render(HEADLAMP)


def test_an_outage_has_a_page() -> None:
    """Envoy keeps the gate's page to itself, so it has one of its own that tries again."""
    (mapper,) = manager(ONE)["local_reply_config"]["mappers"]
    assert {item["header"]["key"] for item in mapper["headers_to_add"]} == {"Retry-After", "Refresh", "Cache-Control"}
