"""
The OpenID conformance suite's relying-party modules, each as one row, judged from outside.

A row bends the issuer and says what must be seen: a session or none, the page's status, how often the token and the
keys endpoint were asked, and that nothing secret is in the log. Left out, since they are not this gate's:

- userinfo-*: userinfo is never asked, the ID token says all
- form-post-*, hybrid and implicit modules, invalid-chash, missing-chash, missing-athash: code flow by query only
- aggregated-claims, distributed-claims, request-uri-*, webfinger, dynamic registration: not used with Dex
- mtls-endpoint-aliases: no mutual TLS with the issuer
- rp-backchannel-*, rp-frontchannel-*, session-management: no such endpoint here
"""

import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from oidcgate.demo.issuer import Client
from tests.support.browser import Browser
from tests.support.stack import CLIENT, SECRET, Stack
from tests.web.steps import (
    ask,
    clocked,
    come_back,
    gate_of,
    is_signed_in,
    quick_stack,
    to_callback,
    turn,
)

Claims = dict[str, Any]
WEEK = 7 * 86400
OTHER_RSA = rsa.generate_private_key(65537, 2048)
OTHER_EC = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Row:
    """
    One module.

    Attributes:
        accepted: whether there is a session in the end.
        bend: makes the issuer behave as the module does, before the login begins.
        later: the same, when the browser is about to come back.
        status: of the page that the callback gets.
        token, keys: calls during the callback.
    """

    name: str
    accepted: bool
    bend: Callable[[Stack], None] = lambda _stack: None
    later: Callable[[Stack], None] = lambda _stack: None
    status: int = 0
    token: int = 1
    keys: int = 0
    config: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.name


def claims(change: Callable[[Claims], Any]) -> Callable[[Stack], None]:
    """Bend the ID token's claims; a change returns what to merge, None removes."""

    def bend(stack: Stack) -> None:
        def changed(given: Claims) -> Claims:
            merged = {**given, **change(given)}
            return {name: value for name, value in merged.items() if value is not None}

        stack.issuer.quirks.claims = changed

    return bend


def header(**members: Any) -> Callable[[Stack], None]:
    """Bend the ID token's header; None removes a member, ``"null"`` makes it null."""

    def bend(stack: Stack) -> None:
        def changed(given: Claims) -> Claims:
            kept = {name: value for name, value in {**given, **members}.items() if value is not None}
            return {name: None if value == "null" else value for name, value in kept.items()}

        stack.issuer.quirks.header = changed

    return bend


def reply(change: Callable[[Claims], Any]) -> Callable[[Stack], None]:
    """Bend the token reply; bytes are sent as they are."""

    def bend(stack: Stack) -> None:
        stack.issuer.quirks.token_reply = change

    return bend


def parameters(*extra: tuple[str, str], without: str = "") -> Callable[[Stack], None]:
    """Bend the redirect back."""

    def bend(stack: Stack) -> None:
        stack.issuer.quirks.callback_params = lambda given: [*(p for p in given if p[0] != without), *extra]

    return bend


def promises_iss(stack: Stack) -> None:
    """The metadata say that answers carry ``iss``."""
    flag = "authorization_response_iss_parameter_supported"
    stack.issuer.quirks.discovery = lambda document: {**document, flag: True}


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signing_input(head: Claims, payload: Claims) -> str:
    """What a JWS signs."""
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(payload).encode())}"


def unsigned(stack: Stack) -> None:
    """``alg: none``."""
    stack.issuer.quirks.sign = lambda head, payload: signing_input({**head, "alg": "none"}, payload) + "."


def by_secret(secret: str) -> Callable[[Stack], None]:
    """HS256 with a secret: the client's, or the public key taken for one."""

    def bend(stack: Stack) -> None:
        key = secret or json.dumps(stack.issuer.keys.jwks()["keys"][0])

        def sign(head: Claims, payload: Claims) -> str:
            signed = signing_input({**head, "alg": "HS256"}, payload)
            return f"{signed}.{b64(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())}"

        stack.issuer.quirks.sign = sign

    return bend


def by_key(key: Any, alg: str) -> Callable[[Stack], None]:
    """Another key under the published kid."""

    def bend(stack: Stack) -> None:
        stack.issuer.quirks.sign = lambda head, payload: jwt.encode(
            payload, key, algorithm=alg, headers={"kid": head["kid"]}
        )

    return bend


def spoiled(stack: Stack) -> None:
    """The signature's last bits are turned round."""
    sign = stack.issuer.keys.sign

    def spoil(head: Claims, payload: Claims) -> str:
        signed, _, signature = sign(head, payload).rpartition(".")
        raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
        raw[-1] ^= 1
        return f"{signed}.{b64(bytes(raw))}"

    stack.issuer.quirks.sign = spoil


def publishes(*others: Any, change: Callable[[Claims], Claims] = lambda jwk: jwk) -> Callable[[Stack], None]:
    """More keys in the key set, and perhaps a change to the signing one's entry."""

    def entry(key: Any) -> Claims:
        family: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
        return {**family.to_jwk(key.public_key(), as_dict=True), "use": "sig"}

    def bend(stack: Stack) -> None:
        extra = [key if isinstance(key, dict) else entry(key) for key in others]
        stack.issuer.quirks.jwks = lambda document: {"keys": [*map(change, document["keys"]), *extra]}

    return bend


def without_kid(jwk: Claims) -> Claims:
    """A key set's entry less its kid."""
    return {name: value for name, value in jwk.items() if name != "kid"}


def both(*bends: Callable[[Stack], None]) -> Callable[[Stack], None]:
    """Several at once."""
    return lambda stack: [bend(stack) for bend in bends] and None


def rotate(stack: Stack) -> None:
    """A new key, used at once."""
    stack.issuer.rotate_keys(OTHER_RSA)


def discovery(**members: Any) -> Callable[[Stack], None]:
    """Bend the metadata."""

    def bend(stack: Stack) -> None:
        stack.issuer.quirks.discovery = lambda document: {**document, **members}

    return bend


NO = {"accepted": False, "status": 400}
YES = {"accepted": True, "status": 303}
ROWS = [
    # Basic
    Row("oidcc-client-test", **YES),
    Row("oidcc-client-test-client-secret-basic", **YES, bend=discovery(token_endpoint_auth_methods_supported=None)),
    Row("client-secret-post", **YES, bend=discovery(token_endpoint_auth_methods_supported=["client_secret_post"])),
    Row("scope-userinfo-claims", **YES),
    Row("nonce-invalid", **NO, later=claims(lambda _: {"nonce": "another"})),
    Row("nonce-unless-code-flow", **NO, later=claims(lambda _: {"nonce": None})),
    Row("nonce-empty", **NO, later=claims(lambda _: {"nonce": ""})),
    Row("nonce-not-a-string", **NO, later=claims(lambda c: {"nonce": [c["nonce"]]})),
    Row("invalid-iss", **NO, later=claims(lambda c: {"iss": c["iss"] + "/"})),
    Row("invalid-iss-list", **NO, later=claims(lambda c: {"iss": [c["iss"]]})),
    Row("missing-iss", **NO, later=claims(lambda _: {"iss": None})),
    Row("invalid-aud", **NO, later=claims(lambda _: {"aud": "another"})),
    Row("missing-aud", **NO, later=claims(lambda _: {"aud": None})),
    Row("missing-iat", **NO, later=claims(lambda _: {"iat": None})),
    Row("missing-sub", **NO, later=claims(lambda _: {"sub": None})),
    Row("empty-sub", **NO, later=claims(lambda _: {"sub": ""})),
    Row("sub-too-long", **NO, later=claims(lambda _: {"sub": "x" * 256})),
    Row("kid-absent-single-jwks", **YES, bend=header(kid=None)),
    Row("kid-absent-both", **YES, bend=both(header(kid=None), publishes(change=without_kid))),
    Row("kid-absent-multiple-jwks", **NO, keys=1, bend=both(header(kid=None), publishes(OTHER_RSA))),
    Row("kid-absent-multiple-jwks-one-fits", **YES, bend=both(header(kid=None), publishes(OTHER_EC))),
    Row("kid-unknown", **NO, keys=1, later=header(kid="nobody")),
    Row("kid-not-a-string", **NO, later=header(kid=7)),
    Row("idtoken-sig-none", **NO, later=unsigned),
    # Full
    Row("invalid-athash", **NO, later=claims(lambda _: {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})),
    Row("at-hash-absent", **YES, later=claims(lambda _: {"at_hash": None})),
    Row("invalid-sig-rs256", **NO, later=spoiled),
    Row("invalid-sig-rs256-other-key", **NO, later=by_key(OTHER_RSA, "RS256")),
    Row("invalid-sig-es256", **NO, keys=1, later=by_key(OTHER_EC, "ES256")),
    Row("invalid-sig-hs256", **NO, later=by_secret(SECRET)),
    Row("hs256-with-the-public-key", **NO, later=by_secret("")),
    # Keys
    Row("discovery-jwks-uri-keys", **YES, bend=publishes({"kty": "oct", "k": "AAAA"}, {"kty": "new"}, {"n": 1})),
    Row("signing-key-rotation", **YES, keys=1, later=rotate),
    Row("key-for-encryption-only", **NO, keys=1, bend=publishes(change=lambda jwk: {**jwk, "use": "enc"})),
    Row("key-of-another-algorithm", **NO, keys=1, bend=publishes(change=lambda jwk: {**jwk, "alg": "RS512"})),
    Row("private-key-published", **NO, keys=1, bend=publishes(change=lambda jwk: {**jwk, "d": "AAAA"})),
    # The header brings no key and changes no rule
    Row("header-jku", **NO, later=header(jku="https://evil.example/keys")),
    Row("header-jwk", **NO, later=header(jwk={"kty": "RSA"})),
    Row("header-x5u", **NO, later=header(x5u="https://evil.example/")),
    Row("header-x5c", **NO, later=header(x5c=["AAAA"])),
    Row("header-crit", **NO, later=header(crit=[])),
    Row("header-b64", **NO, later=header(b64=False)),
    Row("header-typ-jwt", **YES, later=header(typ="JWT")),
    Row("header-typ-access-token", **NO, later=header(typ="at+jwt")),
    Row("header-typ-logout-token", **NO, later=header(typ="logout+jwt")),
    Row("null-alg", **NO, later=header(alg="null")),
    Row("alternate-alg", **NO, later=header(alg="PS256")),
    Row("alternate-case-alg", **NO, later=header(alg="rs256")),
    # From the FAPI client plans
    Row(
        "ensure-authorization-response-with-invalid-state-fails",
        **NO,
        token=0,
        bend=parameters(("state", "x"), without="state"),
    ),
    Row(
        "ensure-authorization-response-with-invalid-missing-state-fails",
        **NO,
        token=0,
        bend=parameters(without="state"),
    ),
    Row("invalid-authorization-response-iss", **NO, token=0, bend=parameters(("iss", "https://evil.example"))),
    Row("remove-authorization-response-iss", **NO, token=0, bend=promises_iss),
    Row("invalid-secondary-aud", **NO, later=claims(lambda _: {"aud": [CLIENT, "another"], "azp": CLIENT})),
    Row("valid-aud-as-array", **YES, later=claims(lambda _: {"aud": [CLIENT]})),
    Row(
        "configured-secondary-aud",
        **YES,
        later=claims(lambda _: {"aud": ["cluster", CLIENT], "azp": CLIENT}),
        config=(("audiences", ["cluster"]),),
    ),
    Row(
        "secondary-aud-without-azp",
        **NO,
        later=claims(lambda _: {"aud": ["cluster", CLIENT], "azp": None}),
        config=(("audiences", ["cluster"]),),
    ),
    Row("only-secondary-aud", **NO, later=claims(lambda _: {"aud": ["cluster"]}), config=(("audiences", ["cluster"]),)),
    Row("invalid-azp", **NO, later=claims(lambda _: {"azp": "another"})),
    Row("valid-azp", **YES, later=claims(lambda _: {"azp": CLIENT})),
    Row("invalid-missing-exp", **NO, later=claims(lambda _: {"exp": None})),
    Row("invalid-expired-exp", **NO, later=claims(lambda c: {"iat": c["iat"] - 600, "exp": c["iat"] - 300})),
    Row("exp-not-a-number", **NO, later=claims(lambda c: {"exp": str(c["exp"])})),
    Row("exp-a-boolean", **NO, later=claims(lambda _: {"exp": True})),
    Row("iat-is-week-in-past", **NO, later=claims(lambda c: {"iat": c["iat"] - WEEK})),  # claims too long a life
    Row("iat-in-the-future", **NO, later=claims(lambda c: {"iat": c["iat"] + 60})),
    Row("nbf-in-the-future", **NO, later=claims(lambda c: {"nbf": c["iat"] + 60})),
    Row("token-type-case-insensitivity", **YES, later=reply(lambda r: {**r, "token_type": "bEaReR"})),
    Row(
        "token-endpoint-response-without-expires_in",
        **YES,
        later=reply(lambda r: {k: v for k, v in r.items() if k != "expires_in"}),
    ),
    # Replies that are none: the provider's fault, said as such
    Row(
        "token-type-missing",
        accepted=False,
        status=502,
        later=reply(lambda r: {k: v for k, v in r.items() if k != "token_type"}),
    ),
    Row("token-type-other", accepted=False, status=502, later=reply(lambda r: {**r, "token_type": "mac"})),
    Row(
        "id-token-missing",
        accepted=False,
        status=502,
        later=reply(lambda r: {k: v for k, v in r.items() if k != "id_token"}),
    ),
    Row("id-token-not-a-string", accepted=False, status=502, later=reply(lambda r: {**r, "id_token": 7})),
    Row("expires-in-absurd", accepted=False, status=502, later=reply(lambda r: {**r, "expires_in": 1e300})),
    Row("reply-not-json", accepted=False, status=502, later=reply(lambda _: b"<html>")),
    Row("reply-not-an-object", accepted=False, status=502, later=reply(lambda _: b"[]")),
    Row(
        "reply-with-a-member-twice",
        accepted=False,
        status=502,
        later=reply(lambda r: json.dumps(r)[:-1].encode() + b',"id_token":"x"}'),
    ),
    Row("reply-too-large", accepted=False, status=502, later=reply(lambda r: {**r, "x": "y" * 300_000})),
    # Tokens of a wrong build
    Row("encrypted", **NO, later=reply(lambda r: {**r, "id_token": "a.b.c.d.e"})),
    Row("not-base64", **NO, later=reply(lambda r: {**r, "id_token": r["id_token"] + "="})),
    Row(
        "access-token-in-its-place",
        **NO,
        later=reply(lambda r: {**r, "id_token": r["access_token"], "access_token": r["id_token"]}),
    ),
    Row("nested-json", **NO, later=claims(lambda _: {"x": json.loads("[" * 60 + "]" * 60)})),
    Row("oversized", **NO, later=claims(lambda _: {"groups": ["g" * 100] * 700})),
    Row("hundreds-of-groups", **YES, later=claims(lambda _: {"groups": [f"team-{n:04}" for n in range(600)]})),
]


def assert_nothing_secret(text: str, callback: str) -> None:
    """No token, code, state or secret in what was written."""
    assert SECRET not in text
    assert not re.search(r"eyJ[\w-]{8,}", text)
    for value in re.findall(r"(?:code|state)=([^&]{8,})", callback):
        assert value not in text


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_relying_party_module(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """The module's login is accepted or refused, with the calls and the page that it should have."""
    caplog.set_level(logging.DEBUG)
    async with quick_stack(config={"provider": dict(row.config)}) as stack:
        row.bend(stack)
        if row.bend is not Row.bend:
            await stack.stop_gate()  # what it fetched at its start may be another thing now
            await stack.start_gate()
        await gate_of(stack).providers.by_id("").warm_up()  # type: ignore[union-attr]
        browser = Browser()
        url = await to_callback(browser, stack)
        row.later(stack)
        before = stack.issuer.calls.copy()
        page = await come_back(browser, url)
        made = stack.issuer.calls - before
        assert page.status == row.status
        assert (made["token"], made["keys"]) == (row.token, row.keys)
        assert (browser.cookie("oidcgate") is not None) == row.accepted
        assert await is_signed_in(browser, stack) == row.accepted
        assert_nothing_secret(caplog.text + stack.access_log() + page.text, url)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "ftp://localhost/keys"},
        {"authorization_endpoint": ""},
    ],
    ids=["issuer-mismatch", "issuer-missing", "foreign-endpoint", "other-scheme", "no-endpoint"],
)
async def test_discovery_that_breaks_the_rules(change: Claims) -> None:
    """oidcc-client-test-discovery-issuer-mismatch and its kin: no login begins."""
    async with quick_stack() as stack:
        discovery(**change)(stack)
        await stack.stop_gate()
        await stack.start_gate()
        page = await Browser().open(f"{stack.url}/")
        assert page.status in (502, 503)  # 503 while the next look at it is not due
        assert stack.issuer.calls["auth"] == 0


async def test_one_refetch_serves_everybody() -> None:
    """signing-key-rotation-just-before-signing: one refetch of the keys, however many logins need it."""
    async with quick_stack() as stack:
        await gate_of(stack).providers.by_id("").warm_up()  # type: ignore[union-attr]
        browsers = [Browser() for _ in range(5)]
        urls = [await to_callback(browser, stack) for browser in browsers]
        rotate(stack)
        keys = stack.issuer.calls["keys"]
        for browser, url in zip(browsers, urls, strict=True):
            assert (await come_back(browser, url)).status == 303
        assert stack.issuer.calls["keys"] == keys + 1


async def test_unknown_keys_are_looked_for_once_a_minute() -> None:
    """Tokens that name unknown keys cause no storm of calls."""
    async with quick_stack() as stack:
        await gate_of(stack).providers.by_id("").warm_up()  # type: ignore[union-attr]
        header(kid="nobody")(stack)
        keys = stack.issuer.calls["keys"]
        for _ in range(4):
            browser = Browser()
            assert (await come_back(browser, await to_callback(browser, stack))).status == 400
        assert stack.issuer.calls["keys"] == keys + 1


REFRESHES = [
    Row("refresh-token", accepted=True),
    Row("refresh-token-without-nonce", accepted=True, later=claims(lambda _: {"nonce": None})),
    Row("refresh-token-invalid-issuer", accepted=False, later=claims(lambda _: {"iss": "https://evil.example"})),
    Row("refresh-token-invalid-sub", accepted=False, later=claims(lambda _: {"sub": "somebody-else"})),
    Row("refresh-token-invalid-aud", accepted=False, later=claims(lambda _: {"aud": "another"})),
    Row("refresh-token-invalid-nonce", accepted=False, later=claims(lambda _: {"nonce": "another"})),
    Row("refresh-token-invalid-signature", accepted=False, later=spoiled),
    Row("refresh-token-unsigned", accepted=False, later=unsigned),
    Row(
        "refresh-token-expired", accepted=False, later=claims(lambda c: {"iat": c["iat"] - 600, "exp": c["iat"] - 300})
    ),
    Row("refresh-token-after-a-rotation", accepted=True, keys=1, later=rotate),
    Row(
        "refresh-token-not-rotated",
        accepted=True,
        later=reply(lambda r: {k: v for k, v in r.items() if k != "refresh_token"}),
    ),
]


@pytest.mark.parametrize("row", REFRESHES, ids=str)
async def test_refresh_module(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """A refreshed token is used, or the session ends: nothing in between (Core §12.2)."""
    caplog.set_level(logging.DEBUG)
    async with clocked(issuer={"id_token_life": 600}) as (stack, clock):
        browser = await stack.browser()
        assert (await ask(browser, stack)).status == 200
        first = stack.ui.arrivals[-1].values("Authorization") if stack.ui else []
        row.later(stack)
        before = stack.issuer.calls.copy()
        turn(stack, clock, 605)
        page = await ask(browser, stack)
        made = stack.issuer.calls - before
        assert page.status == (200 if row.accepted else 401)
        assert made["token"] == 1
        assert stack.ui is not None
        assert stack.ui.expired_tokens == 0
        if row.accepted:
            assert stack.ui.arrivals[-1].values("Authorization") != first
        else:
            assert not gate_of(stack).sessions._lives
        assert_nothing_secret(caplog.text + stack.access_log(), "")


async def test_a_public_client_needs_no_secret() -> None:
    """PKCE alone: the client is named in the body, and no Authorization header is sent."""
    async with quick_stack(config={"provider": {"client_id": "public", "client_secret_file": None}}) as stack:
        stack.issuer.add_client(Client("public", None, (f"{stack.url}/oauth2/callback",)))
        browser = await stack.browser()
        assert await is_signed_in(browser, stack)
