"""The alpha configuration, said in flags."""

from typing import Any

import pytest
import yaml

from oidcgate.imports.reading_alpha import read_alpha, substituted
from oidcgate.imports.report import Part, Report

DOCUMENT = """
upstreamConfig:
  proxyRawPath: true
  upstreams:
    - {id: api, path: /api/, uri: "http://api.svc/base", insecureSkipTLSVerify: true}
    - {id: ui, path: /, uri: "https://ui.svc", timeout: 10s, passHostHeader: true, proxyWebSockets: true}
    - {id: fixed, path: /fixed, static: true, staticCode: 202}
    - {id: old, path: "^/old/(.*)$", rewriteTarget: /$1, uri: "https://ui.svc"}
injectRequestHeaders:
  - name: Authorization
    values: [{claimSource: {claim: id_token, prefix: "Bearer "}}]
  - name: X-Secret
    values: [{secretSource: {value: aHVzaA==}}]
injectResponseHeaders:
  - name: X-Auth-Request-Email
    values: [{claim: email}]
  - name: Authorization
    values: [{claimSource: {claim: user, basicAuthPassword: {value: aHVzaA==}}}]
server: {bindAddress: "-", secureBindAddress: ":443", tls: {key: {fromFile: /k}, cert: {fromEnv: CERT}}}
metricsServer: {bindAddress: ":9100"}
providers:
  - id: dex
    provider: oidc
    clientID: gate
    clientSecret: ${SECRET}
    oidcConfig: {issuerURL: "https://dex.example.com", audienceClaims: [aud], insecureSkipNonce: false}
    loginURLParameters: [{name: prompt, default: [login]}]
    additionalClaims: []
    colour: blue
  - id: second
moreKeys: 1
"""


@pytest.fixture
def report() -> Report:
    """An empty report."""
    return Report()


@pytest.fixture
def document() -> Any:
    """The document above."""
    return yaml.safe_load(DOCUMENT)


def test_flags(document: Any, report: Report) -> None:
    """Keys become the flags that mean the same, each under its own path."""
    found = read_alpha(document, report)
    assert {name: each.values for name, each in found.items() if name != "client-secret"} == {
        "upstream": ("http://api.svc/api/", "https://ui.svc/", "static://202", "https://ui.svc/^/old/(.*)$"),
        "upstream-timeout": ("10s",),
        "pass-host-header": ("true",),
        "proxy-websockets": ("true",),
        "pass-authorization-header": ("true",),
        "set-xauthrequest": ("true",),
        "https-address": (":443",),
        "tls-key-file": ("/k",),
        "metrics-address": (":9100",),
        "provider": ("oidc",),
        "client-id": ("gate",),
        "oidc-issuer-url": ("https://dex.example.com",),
        "oidc-audience-claim": ("aud",),
        "insecure-oidc-skip-nonce": ("false",),
    }
    assert found["oidc-issuer-url"].spelled == "providers[0].oidcConfig.issuerURL"
    assert not found["client-secret"].is_known


def test_what_flags_cannot_say(document: Any, report: Report) -> None:
    """Everything else is named at once, without its value."""
    read_alpha(document, report)
    assert [line.partition(": ")[0] for line in report.lines(Part.NONE)] == [
        "upstreamConfig.upstreams[3].rewriteTarget",
        "injectRequestHeaders[1] X-Secret",
        "injectResponseHeaders[1] Authorization",
        "server.tls.cert.fromEnv",
        "providers[0].loginURLParameters",
        "providers[0].colour",
        "providers[1]",
        "moreKeys",
    ]
    assert report.lines(Part.TAKEN) == ["upstreamConfig.proxyRawPath: always so: paths pass as they came"]
    assert "aHVzaA" not in report.render()


def test_what_the_conversion_writes_anyway_is_silent(report: Report) -> None:
    """Defaults that oauth2-proxy's own conversion writes are no news."""
    parameters = [{"name": "approval_prompt", "default": ["force"]}]
    read_alpha({"providers": [{"loginURLParameters": parameters, "ADFSConfig": {"skipScope": False}}]}, report)
    assert report.lines(Part.NONE) == []


def test_variables() -> None:
    """Variables are replaced, with their defaults; unknown ones stay as they are."""
    tree = {"a": ["${X} $X ${Y:-z} $$1 ${Y}", 1]}
    assert substituted(tree, {"X": "x"}) == {"a": ["x x z $1 ${Y}", 1]}
