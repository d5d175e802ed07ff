"""The browser's part: the address that begins a login and the query that ends it."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from oidcgate.errors import InvalidMetadata, LoginError, StateMismatch
from oidcgate.oidc.authorization import (
    CallbackParams,
    authorization_url,
    challenge,
    check_issuer,
    known_error,
    parse_callback,
)
from oidcgate.oidc.metadata import Metadata

ISSUER = "https://dex.example.com/dex"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


def metadata(endpoint: str = f"{ISSUER}/auth", **changes: Any) -> Metadata:
    """Metadata with the given authorization endpoint."""
    return Metadata(ISSUER, endpoint, f"{ISSUER}/token", f"{ISSUER}/keys", **changes)


def url(endpoint: str = f"{ISSUER}/auth", **changes: Any) -> str:
    """An authorization URL with changed arguments."""
    arguments: dict[str, Any] = {
        "client_id": "gate",
        "redirect_uri": "https://dashboard.example.com/oauth2/callback",
        "scopes": ["openid", "email", "audience:server:client_id:a", "email"],
        "state": "the-state",
        "nonce": "the-nonce",
        "verifier": VERIFIER,
    }
    return authorization_url(metadata(endpoint), **(arguments | changes))


def test_the_request() -> None:
    """Code flow with PKCE S256, each parameter once."""
    got = urlsplit(url(extra={"connector_id": "ldap"}))
    assert got._replace(query="").geturl() == f"{ISSUER}/auth"
    assert parse_qsl(got.query) == [
        ("response_type", "code"),
        ("client_id", "gate"),
        ("redirect_uri", "https://dashboard.example.com/oauth2/callback"),
        ("scope", "openid email audience:server:client_id:a"),
        ("state", "the-state"),
        ("nonce", "the-nonce"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("connector_id", "ldap"),
    ]


def test_the_endpoint_keeps_its_query() -> None:
    """RFC 6749 §3.1: the endpoint URI may include a query, which must be retained."""
    assert url("https://dex.example.com/auth?tenant=7").startswith(
        "https://dex.example.com/auth?tenant=7&response_type=code&"
    )


def test_an_endpoint_that_sets_our_parameters_is_refused() -> None:
    """A response_type in the endpoint's own query would be sent twice."""
    with pytest.raises(InvalidMetadata, match="response_type"):
        url("https://dex.example.com/auth?response_type=token")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"verifier": "short"}, id="short-verifier"),
        pytest.param({"verifier": "a" * 129}, id="long-verifier"),
        pytest.param({"verifier": VERIFIER[:-1] + "="}, id="verifier-out-of-alphabet"),
        pytest.param({"state": ""}, id="empty-state"),
        pytest.param({"nonce": ""}, id="empty-nonce"),
        pytest.param({"extra": {"code_challenge_method": "plain"}}, id="extra-weakens-pkce"),
        pytest.param({"extra": {"state": "x"}}, id="extra-sets-state"),
    ],
)
def test_misuse_is_refused(changes: dict[str, Any]) -> None:
    """No argument makes the request weaker."""
    with pytest.raises(ValueError):
        url(**changes)


def test_challenge() -> None:
    """The example of RFC 7636 Appendix B."""
    assert challenge(VERIFIER) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("query", "params"),
    [
        pytest.param(b"code=c&state=s", CallbackParams("s", code="c"), id="dex"),
        pytest.param(
            b"state=s&code=c%2Fd+e&iss=https%3A%2F%2Fdex.example.com%2Fdex",
            CallbackParams("s", code="c/d e", iss=ISSUER),
            id="with-iss",
        ),
        pytest.param(b"code=%2525&state=s", CallbackParams("s", code="%25"), id="decoded-exactly-once"),
        pytest.param(
            b"code=c&state=s&scope=openid&session_state=1&session_state=2&",
            CallbackParams("s", code="c"),
            id="unknown-ignored",
        ),
        pytest.param(b"%63ode=c&state=s", CallbackParams("s", code="c"), id="name-percent-encoded"),
        pytest.param(b"code=a=b&state=s", CallbackParams("s", code="a=b"), id="equals-sign-in-a-value"),
        pytest.param(
            b"error=access_denied&error_description=no+%3Cb%3E&state=s",
            CallbackParams("s", error="access_denied", error_description="no <b>"),
            id="error",
        ),
        pytest.param(
            b"error=server_error&error_description=a%0Ab%1Bc&state=s",
            CallbackParams("s", error="server_error", error_description="a b c"),
            id="control-characters-in-a-description-are-blanked",
        ),
        pytest.param(
            b"error=e&state=s&error_description=" + b"x" * 300,
            CallbackParams("s", error="e", error_description="x" * 200),
            id="long-description-is-cut",
        ),
    ],
)
def test_callback(query: bytes, params: CallbackParams) -> None:
    """What a provider may send."""
    assert parse_callback(query) == params


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"code=c", id="missing"),
        pytest.param(b"code=c&state=", id="blank"),
        pytest.param(b"code=c&state", id="without-a-value"),
        pytest.param(b"error=access_denied", id="missing-with-error"),
        pytest.param(b"code=c&state=" + b"s" * 513, id="too-long"),
        pytest.param(b"code=c&state=a+b", id="with-a-space"),
        pytest.param(b"code=c&state=%C3%BC", id="not-ascii"),
        pytest.param(b"code=c&State=s", id="in-another-case"),
    ],
)
def test_callback_without_state(query: bytes) -> None:
    """No state, no login: said by its own error."""
    with pytest.raises(StateMismatch):
        parse_callback(query)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(b"state=s&code=a&code=b", id="two-codes"),
        pytest.param(b"state=s&state=s&code=a", id="two-states"),
        pytest.param(b"state=s&%73tate=t&code=a", id="two-states-in-two-spellings"),
        pytest.param(b"state=s&code=a&iss=x&iss=x", id="two-issuers"),
        pytest.param(b"state=s&error=a&error=b", id="two-errors"),
        pytest.param(b"state=s&error=a&error_description=a&error_description=b", id="two-descriptions"),
        pytest.param(b"state=s", id="neither-code-nor-error"),
        pytest.param(b"state=s&code=c&error=e", id="code-and-error"),
        pytest.param(b"state=s&code=", id="blank-code"),
        pytest.param(b"state=s&code=" + b"c" * 4097, id="long-code"),
        pytest.param(b"state=s&code=%E4", id="not-utf-8"),
        pytest.param(b"state=s&code=c&x=%ff", id="not-utf-8-in-an-unknown-one"),
        pytest.param(b"state=s&code=%C0%AF", id="overlong-utf-8"),
        pytest.param(b"state=s&code=%zz", id="bad-percent"),
        pytest.param(b"state=s&code=%4", id="cut-percent"),
        pytest.param(b"state=s&code=a%0D%0Ab", id="newline"),
        pytest.param(b"state=s&code=a%00", id="nul"),
        pytest.param(b"state=s&code=a\x00", id="raw-nul"),
        pytest.param(b"state=s&code=a b", id="raw-space"),
        pytest.param(b"state=s&code=\xc3\xbc", id="raw-bytes"),
        pytest.param(b"state=s&code=%C3%BC", id="code-not-ascii"),
        pytest.param(b"state=s&error=a%22b", id="error-with-a-quote"),
        pytest.param(b"state=s&error=" + b"e" * 65, id="long-error"),
        pytest.param(b"state=s&code=c&iss=", id="blank-iss"),
        pytest.param(b"state=s&code=c&iss=https://a%20b", id="iss-with-a-space"),
        pytest.param(b"state=s&code=c&x=" + b"x" * 16384, id="long-query"),
        pytest.param(b"state=s&code=c" + b"&" * 32, id="many-parameters"),
    ],
)
def test_callback_refused(query: bytes) -> None:
    """Anything that two readers could read differently is refused."""
    with pytest.raises(LoginError) as caught:
        parse_callback(query)
    assert not isinstance(caught.value, StateMismatch)


def test_no_secret_in_repr() -> None:
    """Code and state stay out of logs."""
    text = repr(parse_callback(b"code=s3cret&state=t0ken"))
    assert "s3cret" not in text
    assert "t0ken" not in text


@pytest.mark.parametrize(
    ("iss", "promised", "good"),
    [
        pytest.param(None, False, True, id="dex-sends-none"),
        pytest.param(None, True, False, id="removed"),
        pytest.param(ISSUER, False, True, id="right-though-not-promised"),
        pytest.param(ISSUER, True, True, id="right"),
        pytest.param(ISSUER + "/", False, False, id="a-slash-more"),
        pytest.param("https://DEX.example.com/dex", True, False, id="another-case"),
        pytest.param("https://evil.example.net", False, False, id="another-issuer"),
    ],
)
def test_issuer(iss: str | None, promised: bool, good: bool) -> None:
    """Mix-up defence: byte for byte, and required once promised."""
    params = CallbackParams("s", code="c", iss=iss)
    claims = metadata(iss_parameter_supported=promised)
    if good:
        check_issuer(params, issuer=ISSUER, metadata=claims)
    else:
        with pytest.raises(LoginError, match="iss"):
            check_issuer(params, issuer=ISSUER, metadata=claims)


@pytest.mark.parametrize("error", ["access_denied", "invalid_scope", "login_required", "server_error"])
def test_known_errors_have_sentences(error: str) -> None:
    """Each known code has a sentence of ours."""
    assert known_error(error) != known_error("nobody-knows")


def test_unknown_errors_are_not_echoed() -> None:
    """The attacker's text never becomes ours."""
    assert known_error("<script>") == known_error("") == "The identity provider refused the sign-in."
