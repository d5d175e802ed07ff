"""The discovery document: what is believed, and where the gate calls."""

import json
from typing import Any

import pytest

from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.metadata import (
    Metadata,
    discovery_url,
    internal_address,
    is_loopback,
    parse_metadata,
    with_query,
)

ISSUER = "https://dex.example.com/dex"
NONE: frozenset[str] = frozenset()


def document(issuer: str = ISSUER, **changes: Any) -> bytes:
    """A discovery document as Dex writes it; members that are "drop" are left out."""
    members: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "code_challenge_methods_supported": ["S256", "plain"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "id_token_signing_alg_values_supported": ["RS256"],
    } | changes
    return json.dumps({k: v for k, v in members.items() if v != "drop"}).encode()


def test_dex_document() -> None:
    """Dex's own document comes out with everything that it lacks being absent."""
    got = parse_metadata(document(), issuer=ISSUER, endpoint_hosts=NONE)
    assert got == Metadata(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/auth",
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/keys",
        userinfo_endpoint=f"{ISSUER}/userinfo",
        code_challenge_methods=("S256", "plain"),
        auth_methods=("client_secret_basic", "client_secret_post"),
        id_token_algs=("RS256",),
    )


def test_everything_a_document_can_say() -> None:
    """Logout, revocation and the RFC 9207 flag are detected, never assumed."""
    got = parse_metadata(
        document(
            end_session_endpoint=f"{ISSUER}/logout",
            revocation_endpoint=f"{ISSUER}/revoke",
            authorization_response_iss_parameter_supported=True,
            backchannel_logout_supported=True,
            backchannel_logout_session_supported=True,
        ),
        issuer=ISSUER,
        endpoint_hosts=NONE,
    )
    assert (got.end_session_endpoint, got.revocation_endpoint) == (f"{ISSUER}/logout", f"{ISSUER}/revoke")
    assert got.iss_parameter_supported
    assert got.backchannel_logout_supported
    assert got.backchannel_logout_session_supported


def test_a_document_that_says_little() -> None:
    """What is not listed is unknown, not refused."""
    body = document(
        code_challenge_methods_supported="drop",
        token_endpoint_auth_methods_supported=None,
        userinfo_endpoint="drop",
    )
    got = parse_metadata(body, issuer=ISSUER, endpoint_hosts=NONE)
    assert (got.code_challenge_methods, got.auth_methods, got.userinfo_endpoint) == ((), (), None)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"issuer": ISSUER + "/"}, id="issuer-with-a-slash-more"),
        pytest.param({"issuer": "https://DEX.example.com/dex"}, id="issuer-in-another-case"),
        pytest.param({"issuer": [ISSUER]}, id="issuer-is-a-list"),
        pytest.param({"issuer": "drop"}, id="issuer-missing"),
        pytest.param({"token_endpoint": "drop"}, id="token-endpoint-missing"),
        pytest.param({"token_endpoint": None}, id="token-endpoint-null"),
        pytest.param({"jwks_uri": 7}, id="jwks-uri-is-a-number"),
        pytest.param({"jwks_uri": "http://dex.example.com/keys"}, id="plain-http"),
        pytest.param({"jwks_uri": "ftp://dex.example.com/keys"}, id="another-scheme"),
        pytest.param({"jwks_uri": "//dex.example.com/keys"}, id="no-scheme"),
        pytest.param({"jwks_uri": "https://evil.example.net/keys"}, id="foreign-host"),
        pytest.param({"jwks_uri": "https://169.254.169.254/latest"}, id="metadata-address"),
        pytest.param({"jwks_uri": "https://dex.example.com.evil.net/keys"}, id="host-as-a-prefix"),
        pytest.param({"jwks_uri": "https://dex.example.com@evil.net/keys"}, id="host-as-a-user"),
        pytest.param({"jwks_uri": "https://u:p@dex.example.com/keys"}, id="user-and-password"),
        pytest.param({"jwks_uri": "https://@dex.example.com/keys"}, id="empty-user"),
        pytest.param({"jwks_uri": "https://dex.example.com/keys#x"}, id="fragment"),
        pytest.param({"jwks_uri": "https://dex.example.com/keys#"}, id="empty-fragment"),
        pytest.param({"jwks_uri": "https://dex.example.com\\@evil.net/"}, id="backslash"),
        pytest.param({"jwks_uri": "https://dex.example.com/a b"}, id="space"),
        pytest.param({"jwks_uri": "https://dex.example.com/\n"}, id="newline"),
        pytest.param({"jwks_uri": "https://dex.ex\u00e4mple.com/"}, id="not-ascii"),
        pytest.param({"jwks_uri": "https://dex.example.com:99999/"}, id="impossible-port"),
        pytest.param({"jwks_uri": "https://[::1/keys"}, id="broken-address"),
        pytest.param({"jwks_uri": "https:///keys"}, id="no-host"),
        pytest.param({"jwks_uri": "https://dex.example.com/" + "a" * 2100}, id="too-long"),
        pytest.param({"end_session_endpoint": "https://evil.example.net/"}, id="foreign-optional-endpoint"),
        pytest.param({"code_challenge_methods_supported": "S256"}, id="methods-no-list"),
        pytest.param({"code_challenge_methods_supported": ["S256"] * 101}, id="too-many-methods"),
        pytest.param({"id_token_signing_alg_values_supported": [1]}, id="alg-is-a-number"),
    ],
)
def test_refuses(changes: dict[str, Any]) -> None:
    """One broken member spoils the document."""
    with pytest.raises(InvalidMetadata):
        parse_metadata(document(**changes), issuer=ISSUER, endpoint_hosts=NONE)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>", id="html"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"issuer":"a","issuer":"b"}', id="duplicate-member"),
        pytest.param(b'{"x":"' + b"a" * 262_144 + b'"}', id="too-big"),
    ],
)
def test_refuses_what_is_no_document(body: bytes) -> None:
    """A page, a list or a mountain is no metadata."""
    with pytest.raises(InvalidMetadata):
        parse_metadata(body, issuer=ISSUER, endpoint_hosts=NONE)


def test_listed_hosts_may_serve_endpoints() -> None:
    """Endpoints elsewhere are for the operator to allow, by name."""
    body = document(jwks_uri="https://Keys.example.net:8443/k")
    assert parse_metadata(body, issuer=ISSUER, endpoint_hosts=frozenset({"keys.example.net"}))
    with pytest.raises(InvalidMetadata, match=r"keys\.example\.net"):
        parse_metadata(body, issuer=ISSUER, endpoint_hosts=NONE)


@pytest.mark.parametrize(
    ("issuer", "jwks_uri", "good"),
    [
        pytest.param("http://localhost:5556/dex", "http://localhost:5556/keys", True, id="localhost"),
        pytest.param("http://127.0.0.1:5556", "http://127.0.0.1:5556/keys", True, id="ipv4"),
        pytest.param("http://[::1]:5556", "http://[::1]:5556/keys", True, id="ipv6"),
        pytest.param("http://dex.localhost", "https://dex.localhost/keys", True, id="https-is-always-good"),
        pytest.param("http://localhost", "http://listed.example.com/k", False, id="http-leaves-the-machine"),
        pytest.param("http://dex.example.com", "http://dex.example.com/k", False, id="http-issuer-elsewhere"),
        pytest.param("https://localhost", "http://localhost/keys", False, id="downgrade-from-https"),
    ],
)
def test_plain_http(issuer: str, jwks_uri: str, good: bool) -> None:
    """Plain http is for issuers that are http on a loopback name."""
    body = document(issuer, jwks_uri=jwks_uri)
    hosts = frozenset({"listed.example.com"})
    if good:
        assert parse_metadata(body, issuer=issuer, endpoint_hosts=hosts).jwks_uri == jwks_uri
    else:
        with pytest.raises(InvalidMetadata, match="https"):
            parse_metadata(body, issuer=issuer, endpoint_hosts=hosts)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("", False),
        ("mylocalhost", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only names and addresses that never leave the machine."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("issuer", ["https://dex.example.com/dex", "https://dex.example.com/dex/"])
def test_discovery_url(issuer: str) -> None:
    """A terminating slash is removed before the well-known path is added."""
    assert discovery_url(issuer) == "https://dex.example.com/dex/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("url", "internal", "address"),
    [
        pytest.param(f"{ISSUER}/keys", None, f"{ISSUER}/keys", id="no-other-way"),
        pytest.param(
            f"{ISSUER}/token?a=b", "http://dex.dex.svc:5556", "http://dex.dex.svc:5556/dex/token?a=b", id="inside"
        ),
        pytest.param(f"{ISSUER}/keys", "http://dex:5556/ignored", "http://dex:5556/dex/keys", id="path-stays"),
        pytest.param("https://DEX.example.com/k", "http://dex", "http://dex/k", id="host-in-another-case"),
        pytest.param("https://keys.example.net/k", "http://dex", "https://keys.example.net/k", id="another-host"),
        pytest.param("https://dex.example.com:8443/k", "http://d", "https://dex.example.com:8443/k", id="port"),
    ],
)
def test_internal_address(url: str, internal: str | None, address: str) -> None:
    """Scheme, host and port of the issuer's own origin are replaced; all else stays."""
    assert internal_address(url, issuer=ISSUER, internal_url=internal) == address


def test_with_query() -> None:
    """The endpoint's own query stays in front, and everything added is percent-encoded."""
    assert with_query("https://a/x", {"b": "ü &"}) == "https://a/x?b=%C3%BC%20%26"
    assert with_query("https://a/x?t=%2f", {"b": "c/d"}) == "https://a/x?t=%2f&b=c%2Fd"


@pytest.mark.parametrize("query", ["state=x", "state", "%73tate=x"])
def test_with_query_refuses_repetition(query: str) -> None:
    """A parameter is never sent twice (RFC 6749 §3.1)."""
    with pytest.raises(InvalidMetadata, match="state"):
        with_query(f"https://a/x?{query}", {"state": "y"})
