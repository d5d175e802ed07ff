"""The token endpoint: what is sent, and what an answer means."""

import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from oidcgate.errors import InvalidMetadata, ProviderError, TokenError
from oidcgate.oidc.tokens import (
    TokenRequest,
    TokenSet,
    choose_auth_method,
    code_request,
    parse_token_reply,
    refresh_request,
    revocation_request,
)

JSON = "application/json"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
SECRET = {"client_id": "gate", "client_secret": "s&c:r%t"}
CODE: dict[str, Any] = {"code": "c/1", "redirect_uri": "https://d/oauth2/callback", "verifier": "v"}


def form(request: TokenRequest) -> list[tuple[str, str]]:
    """The fields of a request's body."""
    return parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)


def test_code_by_basic() -> None:
    """Id and secret are form-encoded before base64 (RFC 6749 §2.3.1)."""
    request = code_request(**CODE, client_id="ga te", client_secret="s&c:r%ü", auth_method="client_secret_basic")
    kind, _, value = request.headers["Authorization"].partition(" ")
    assert kind == "Basic"
    assert base64.b64decode(value) == b"ga%20te:s%26c%3Ar%25%C3%BC"
    assert form(request) == [
        ("grant_type", "authorization_code"),
        ("code", "c/1"),
        ("redirect_uri", "https://d/oauth2/callback"),
        ("code_verifier", "v"),
    ]


def test_code_by_post() -> None:
    """In the body, id and secret are two fields more and there is no Authorization."""
    request = code_request(**CODE, **SECRET, auth_method="client_secret_post")
    assert request.headers == FORM
    assert form(request)[4:] == [("client_id", "gate"), ("client_secret", "s&c:r%t")]


def test_code_by_a_public_client() -> None:
    """A public client sends its id in the body, and no secret even if there is one."""
    request = code_request(**CODE, **SECRET, auth_method="none")
    assert request.headers == FORM
    assert form(request)[4:] == [("client_id", "gate")]


@pytest.mark.parametrize(
    ("scopes", "fields"),
    [
        pytest.param(None, [], id="as-granted"),
        pytest.param(["openid", "a:b", "openid"], [("scope", "openid a:b")], id="narrowed"),
    ],
)
def test_refresh(scopes: list[str] | None, fields: list[tuple[str, str]]) -> None:
    """Scopes go along only to narrow."""
    request = refresh_request(**SECRET, auth_method="client_secret_basic", refresh_token="r", scopes=scopes)
    assert form(request) == [("grant_type", "refresh_token"), ("refresh_token", "r"), *fields]


def test_revocation() -> None:
    """RFC 7009 §2.1, with the hint."""
    request = revocation_request(**SECRET, auth_method="client_secret_basic", refresh_token="r")
    assert form(request) == [("token", "r"), ("token_type_hint", "refresh_token")]


@pytest.mark.parametrize("secret", [None, ""])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_method_without_its_secret(method: Any, secret: str | None) -> None:
    """An empty secret is never sent."""
    with pytest.raises(ValueError, match="needs a client secret"):
        refresh_request(client_id="gate", client_secret=secret, auth_method=method, refresh_token="r", scopes=None)


@pytest.mark.parametrize(
    ("supported", "confidential", "method"),
    [
        pytest.param([], True, "client_secret_basic", id="unspecified"),
        pytest.param(["client_secret_post", "client_secret_basic"], True, "client_secret_basic", id="both"),
        pytest.param(["client_secret_post"], True, "client_secret_post", id="post-only"),
        pytest.param(["client_secret_basic"], False, "none", id="public"),
    ],
)
def test_auth_method(supported: list[str], confidential: bool, method: str) -> None:
    """Basic wherever it may be."""
    assert choose_auth_method(supported, confidential=confidential) == method


def test_no_auth_method_in_common() -> None:
    """A provider that wants what we cannot do is named as such."""
    with pytest.raises(InvalidMetadata, match="private_key_jwt"):
        choose_auth_method(["private_key_jwt"], confidential=True)


def reply(**changes: Any) -> bytes:
    """Dex's token reply; members that are "drop" are left out."""
    members = {"access_token": "a", "token_type": "bearer", "expires_in": 86399, "id_token": "i.d.t"} | changes
    return json.dumps({k: v for k, v in members.items() if v != "drop"}).encode()


@pytest.mark.parametrize(
    ("body", "content_type", "token_set"),
    [
        pytest.param(reply(), JSON, TokenSet("i.d.t", "a", None, 86399), id="dex"),
        pytest.param(reply(refresh_token="r"), JSON, TokenSet("i.d.t", "a", "r", 86399), id="with-refresh"),
        pytest.param(reply(token_type="Bearer"), JSON, TokenSet("i.d.t", "a", None, 86399), id="Bearer"),
        pytest.param(reply(token_type="BEARER"), JSON, TokenSet("i.d.t", "a", None, 86399), id="BEARER"),
        pytest.param(reply(expires_in="drop"), JSON, TokenSet("i.d.t", "a"), id="without-expires-in"),
        pytest.param(reply(expires_in=60.9), JSON, TokenSet("i.d.t", "a", None, 60), id="fractional"),
        pytest.param(reply(access_token="drop"), JSON, TokenSet("i.d.t", None, None, 86399), id="no-access"),
        pytest.param(reply(refresh_token=""), JSON, TokenSet("i.d.t", "a", None, 86399), id="blank-refresh"),
        pytest.param(
            reply(scope="openid", x={"y": 1}),
            "Application/JSON;charset=utf-8",
            TokenSet("i.d.t", "a", None, 86399),
            id="more-members-and-a-charset",
        ),
    ],
)
def test_reply(body: bytes, content_type: str, token_set: TokenSet) -> None:
    """What a provider may answer."""
    assert parse_token_reply(200, content_type, body, need_id_token=True) == token_set


def test_reply_without_id_token() -> None:
    """A refresh may come without one (OIDC Core §12.2); a login may not."""
    body = reply(id_token="drop", refresh_token="r")
    assert parse_token_reply(200, JSON, body, need_id_token=False) == TokenSet("", "a", "r", 86399)
    with pytest.raises(ProviderError, match="id_token"):
        parse_token_reply(200, JSON, body, need_id_token=True)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(reply(), "text/html", id="html-type"),
        pytest.param(reply(), "", id="no-type"),
        pytest.param(reply(), "application/jsonp", id="almost-json"),
        pytest.param(b"<html>", JSON, id="html"),
        pytest.param(b"[]", JSON, id="a-list"),
        pytest.param(reply()[:-1] + b',"id_token":"other"}', JSON, id="duplicate-member"),
        pytest.param(reply(x="a" * 262_144), JSON, id="too-big"),
        pytest.param(reply(token_type="drop"), JSON, id="no-token-type"),
        pytest.param(reply(token_type="DPoP"), JSON, id="another-token-type"),
        pytest.param(reply(token_type=["bearer"]), JSON, id="token-type-list"),
        pytest.param(reply(id_token=7), JSON, id="id-token-number"),
        pytest.param(reply(access_token="a\nb"), JSON, id="newline-in-a-token"),
        pytest.param(reply(refresh_token={"a": 1}), JSON, id="refresh-token-object"),
        pytest.param(reply(expires_in="3600"), JSON, id="expires-in-string"),
        pytest.param(reply(expires_in=True), JSON, id="expires-in-bool"),
        pytest.param(reply(expires_in=-1), JSON, id="expires-in-negative"),
        pytest.param(reply(expires_in=1e300), JSON, id="expires-in-huge"),
        pytest.param(b'{"error":"invalid_grant"}', JSON, id="an-error-with-200"),
    ],
)
def test_garbage_with_200(body: bytes, content_type: str) -> None:
    """A broken success is the provider's fault and not a refusal: nobody's session ends for it."""
    with pytest.raises(ProviderError) as caught:
        parse_token_reply(200, content_type, body, need_id_token=True)
    assert not isinstance(caught.value, TokenError)


@pytest.mark.parametrize(
    ("status", "body", "error", "final"),
    [
        pytest.param(400, b'{"error":"invalid_request"}', "invalid_request", True, id="dex-dead-refresh-token"),
        pytest.param(401, b'{"error":"invalid_client"}', "invalid_client", False, id="wrong-secret"),
        pytest.param(500, b'{"error":"server_error"}', "server_error", False, id="dex-expired-code"),
        pytest.param(503, b"<html>", "invalid_reply", False, id="a-page"),
        pytest.param(400, b'{"error":"a\\nb"}', "invalid_reply", True, id="newline"),
        pytest.param(400, b'{"error":"a\\"b"}', "invalid_reply", True, id="quote"),
        pytest.param(400, b'{"error":"' + b"e" * 65 + b'"}', "invalid_reply", True, id="too-long"),
        pytest.param(400, b'{"error":7}', "invalid_reply", True, id="number"),
        pytest.param(400, b'{"error":"a","error":"b"}', "invalid_reply", True, id="duplicate-member"),
        pytest.param(302, b"", "invalid_reply", False, id="redirect"),
        pytest.param(201, reply(), "invalid_reply", False, id="another-2xx"),
        pytest.param(429, b"{}", "invalid_reply", False, id="too-many-requests"),
    ],
)
def test_refusal(status: int, body: bytes, error: str, final: bool) -> None:
    """The code is cleaned; a 400 is final, but for an unknown client, which the operator can put right (RFC 6749 §5.2)."""
    with pytest.raises(TokenError) as caught:
        parse_token_reply(status, JSON, body, need_id_token=True)
    assert (caught.value.error, caught.value.status_seen, caught.value.final) == (error, status, final)


def test_no_token_in_repr_or_message() -> None:
    """Tokens stay out of logs."""
    request = refresh_request(**SECRET, auth_method="client_secret_post", refresh_token="t0p", scopes=None)
    assert "t0p" not in repr(request)
    assert "t0p" not in repr(TokenSet("t0p", "t0p", "t0p", 7))
    with pytest.raises(ProviderError) as caught:
        parse_token_reply(200, JSON, reply(id_token="t0p\n"), need_id_token=True)
    assert "t0p" not in str(caught.value)
