"""The pure parts of the demo issuer: keys, claims, codes, refresh tokens, authorization requests."""

import base64
import json
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from oidcgate.demo.issuer_authorization import Refused, SentBack, authorization_request
from oidcgate.demo.issuer_grants import CODE_LIFE, Codes, RefreshTokens, TokenProblem, authenticated
from oidcgate.demo.issuer_model import DEMO_PEOPLE, Client
from oidcgate.demo.issuer_sessions import LOGOUT_EVENT, Sessions, logout_claims
from oidcgate.demo.issuer_tokens import (
    Grant,
    Keyring,
    audience,
    challenge_of,
    half_hash,
    new_id,
    pack,
    subject,
    token_claims,
)

ALICE, BOB, CAROL = DEMO_PEOPLE
CALLBACK = "http://gate.example/cb"
GATE = Client("gate", "s3cret", (CALLBACK,))
PEER = Client("peer", "p", (CALLBACK,), trusted_peers=("gate",))
NATIVE = Client("native", None, ())
CLIENTS = {client.id: client for client in (GATE, PEER, NATIVE)}
FULL = ("openid", "email", "groups", "profile", "offline_access")
GRANT = Grant("gate", ALICE, FULL, "n-1", CALLBACK)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key():
    """One RSA key for all tests here."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def claims_of(grant=GRANT, **changes):
    given = {"issuer": "http://i/dex", "now": 100, "life": 60, "access_token": "a", "code": "c"}
    return token_claims(grant, **given | changes)


class TestKeyring:
    def test_signs_what_its_key_set_verifies(self, key, clock):
        """A token made with the ring is genuine by its JWK Set, and names its key."""
        ring = Keyring(key, clock=clock, keep=60)
        token = ring.sign(ring.header, {"iss": "i", "a": 1})
        (jwk,) = ring.jwks()["keys"]
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": jwk["kid"]}
        assert jwt.decode(token, jwt.PyJWK(jwk).key, algorithms=["RS256"])["a"] == 1

    def test_keeps_the_old_public_key_for_a_while(self, key, clock):
        """After a rotation the old key verifies until the last token it signed has expired."""
        ring = Keyring(key, clock=clock, keep=60)
        old = ring.sign(ring.header, {"iss": "i", "exp": clock.now + 600})
        ring.rotate(key)
        assert ring.verify(old, issuer="i")
        clock.now += 61
        assert len(ring.jwks()["keys"]) == 1
        with pytest.raises(jwt.InvalidTokenError, match="no such key"):
            ring.verify(old, issuer="i")

    def test_makes_its_key_when_needed(self, clock):
        """Without a given key one is generated at first use, and used from then on."""
        ring = Keyring(None, clock=clock, keep=60)
        assert ring.key is ring.key
        assert ring.key.key_size == 2048

    def test_judges_expiry_by_its_own_clock(self, key, clock):
        """An expired token is refused unless asked for, whatever the time of day."""
        ring = Keyring(key, clock=clock, keep=60)
        token = ring.sign(ring.header, {"iss": "i", "exp": clock.now - 1})
        with pytest.raises(jwt.ExpiredSignatureError):
            ring.verify(token, issuer="i")
        assert ring.verify(token, issuer="i", expired=True)

    def test_refuses_another_issuer(self, key, clock):
        """Our own key is not enough."""
        ring = Keyring(key, clock=clock, keep=60)
        with pytest.raises(jwt.InvalidIssuerError):
            ring.verify(ring.sign(ring.header, {"iss": "j", "exp": clock.now + 9}), issuer="i")

    def test_repr_hides_the_key(self, key, clock):
        """The representation shows counts and the kid only."""
        assert repr(Keyring(key, clock=clock, keep=1)).startswith("<Keyring kid=")


class TestClaims:
    def test_all_scopes(self):
        """The claims and their order are Dex's."""
        claims = claims_of()
        assert list(claims) == [
            *("iss", "sub", "aud", "exp", "iat", "nonce", "at_hash", "c_hash"),
            *("email", "email_verified", "groups", "name", "preferred_username"),
        ]
        assert (claims["aud"], claims["exp"], claims["groups"]) == ("gate", 160, ["platform-admins"])

    def test_openid_alone(self):
        """Without further scopes there is no personal data."""
        assert set(claims_of(replace(GRANT, scopes=("openid",), nonce=""), code="")) == {
            *("iss", "sub", "aud", "exp", "iat", "at_hash"),
        }

    def test_no_groups_no_claim(self):
        """Somebody without groups has no claim of that name, not an empty list."""
        assert "groups" not in claims_of(replace(GRANT, person=CAROL))

    def test_unverified_address_is_said(self):
        """email_verified is present when false."""
        person = replace(ALICE, email_verified=False)
        assert claims_of(replace(GRANT, person=person))["email_verified"] is False

    def test_federated_id(self):
        """The scope of that name shows connector and user id."""
        claims = claims_of(replace(GRANT, scopes=("openid", "federated:id")))
        assert claims["federated_claims"] == {"connector_id": "local", "user_id": "demo-0001"}

    def test_several_audiences_have_a_party(self):
        """azp appears with the array, never with the string."""
        claims = claims_of(replace(GRANT, scopes=("openid", "audience:server:client_id:peer")))
        assert (claims["aud"], claims["azp"]) == (["peer", "gate"], "gate")
        assert "azp" not in claims_of()

    @pytest.mark.parametrize(
        ("peers", "expected"),
        [((), ["gate"]), (("a", "b"), ["a", "b", "gate"]), (("gate", "a"), ["gate", "a"]), (("gate",), ["gate"])],
        ids=["none", "peers", "self-first", "self-only"],
    )
    def test_audience(self, peers, expected):
        """Peers in order; the client last unless it names itself."""
        assert audience("gate", tuple(f"audience:server:client_id:{peer}" for peer in peers)) == expected

    def test_session_claims(self):
        """With a session: sid, auth_time, and a jti of its own for each token."""
        grant = replace(GRANT, sid="s", auth_time=7)
        first, second = claims_of(grant), claims_of(grant)
        assert (first["sid"], first["auth_time"]) == ("s", 7)
        assert first["jti"] != second["jti"]

    def test_subject_is_dex_protobuf(self):
        """The subject of user u-1 is the one that a real Dex gives."""
        assert subject("u-1") == "CgN1LTESBWxvY2Fs"

    def test_pack_long_strings(self):
        """Lengths above 127 take two bytes."""
        assert base64.urlsafe_b64decode(pack("x" * 200, "") + "==")[:3] == b"\x0a\xc8\x01"

    def test_half_hash(self):
        """The example of OIDC Core, appendix A.3."""
        token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
        assert half_hash(token) == "77QmUPtjPfzWtF2AnpK9RQ"

    def test_challenge(self):
        """The example of RFC 7636, appendix B."""
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        assert challenge_of(verifier, "S256") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        assert challenge_of(verifier, "plain") == verifier

    def test_ids_look_like_dex_ids(self):
        """25 characters, led by a letter."""
        assert len(new_id()) == 25
        assert new_id()[0].isalpha()


def problem(call, *args):
    """(status, error, description) of the refusal that ``call`` raises."""
    with pytest.raises(TokenProblem) as caught:
        call(*args)
    body = caught.value.body
    return caught.value.status, body["error"], body.get("error_description", "")


class TestCodes:
    def test_redeemed_once(self, clock):
        """A code works once; then it is unknown."""
        codes = Codes(clock)
        form = {"code": codes.issue(GRANT), "redirect_uri": CALLBACK}
        code, grant = codes.check(form, GATE)
        codes.claim(code)
        assert grant is GRANT
        assert problem(codes.check, form, GATE) == (400, "invalid_grant", "Invalid or expired code parameter.")
        assert problem(codes.claim, code)[:2] == (500, "server_error")

    def test_too_late(self, clock):
        """After half an hour Dex takes its own code for a database failure."""
        codes = Codes(clock)
        form = {"code": codes.issue(GRANT), "redirect_uri": CALLBACK}
        clock.now += CODE_LIFE + 1
        assert problem(codes.check, form, GATE) == (500, "server_error", "")

    @pytest.mark.parametrize(
        ("form", "client", "expected"),
        [
            ({}, PEER, (500, "server_error")),
            ({"redirect_uri": CALLBACK + "/"}, GATE, (400, "invalid_request")),
            ({"code": ""}, GATE, (400, "invalid_request")),
            ({"code": "nonsense"}, GATE, (400, "invalid_grant")),
            ({"code_verifier": "v"}, GATE, (400, "invalid_request")),
        ],
        ids=["foreign", "redirect-uri", "no-code", "unknown", "verifier-without-challenge"],
    )
    def test_refusals(self, clock, form, client, expected):
        """Dex's status and code for each way to present a code wrongly."""
        codes = Codes(clock)
        given = {"code": codes.issue(GRANT), "redirect_uri": CALLBACK} | form
        assert problem(codes.check, given, client)[:2] == expected

    @pytest.mark.parametrize("method", ["S256", "plain"])
    def test_pkce(self, clock, method):
        """The right verifier, and only it, redeems a code with a challenge; a wrong one does not spend it."""
        codes = Codes(clock)
        grant = replace(GRANT, challenge=challenge_of("v" * 43, method), challenge_method=method)
        form = {"code": codes.issue(grant), "redirect_uri": CALLBACK}
        assert problem(codes.check, form, GATE)[1] == "invalid_grant"
        assert problem(codes.check, form | {"code_verifier": "w"}, GATE)[1] == "invalid_grant"
        assert codes.check(form | {"code_verifier": "v" * 43}, GATE)


INVALID = (400, "invalid_request", "Refresh token is invalid or has already been claimed by another client.")


class Refresher:
    """Refreshes as the token endpoint does, in one step."""

    def __init__(self, clock, interval=0.0):
        self.tokens = RefreshTokens(clock, interval)
        self.asked = 0
        self.person = None

    def __call__(self, token, client=GATE):
        record, presented, _ = self.tokens.check({"refresh_token": token}, client)
        return self.tokens.claim(record, presented, self._lookup)

    def _lookup(self, person):
        self.asked += 1
        return self.person or person


class TestRefreshTokens:
    def test_rotates_every_time(self, clock):
        """Each refresh gives another token and kills the one before."""
        refresh = Refresher(clock)
        first = refresh.tokens.issue(GRANT)
        second, _ = refresh(first)
        third, _ = refresh(second)
        assert len({first, second, third}) == 3
        assert problem(refresh, first) == problem(refresh, second) == INVALID

    def test_second_login_kills_the_first(self, clock):
        """There is one token per person and client."""
        refresh = Refresher(clock)
        first, second = refresh.tokens.issue(GRANT), refresh.tokens.issue(GRANT)
        assert problem(refresh, first) == INVALID
        assert refresh(second)

    def test_other_people_and_clients_are_not_touched(self, clock):
        """Somebody else's login, or a login through another client, kills nothing."""
        refresh = Refresher(clock)
        first = refresh.tokens.issue(GRANT)
        refresh.tokens.issue(replace(GRANT, person=BOB))
        refresh.tokens.issue(replace(GRANT, client_id="peer"))
        assert refresh(first)

    def test_reuse_interval_answers_the_old_token(self, clock):
        """Within the interval the old token brings the same new one, without asking the connector."""
        refresh = Refresher(clock, 3.0)
        first = refresh.tokens.issue(GRANT)
        clock.now += 4
        second, _ = refresh(first)
        clock.now += 3
        assert refresh(first)[0] == refresh(second)[0] == second
        assert refresh.asked == 1
        clock.now += 1
        assert problem(refresh, first) == INVALID

    def test_no_rotation_just_after_the_login(self, clock):
        """The login counts as a use, so inside the interval the first token comes back itself."""
        refresh = Refresher(clock, 3.0)
        first = refresh.tokens.issue(GRANT)
        assert refresh(first)[0] == first
        assert refresh.asked == 0

    @pytest.mark.parametrize(("interval", "fails"), [(0.0, True), (3.0, False)])
    def test_overlap(self, clock, interval, fails):
        """Two that pass the check together: the later claim is a 500, or is served within the interval."""
        tokens = RefreshTokens(clock, interval)
        form = {"refresh_token": tokens.issue(GRANT)}
        clock.now += 4
        one, two = tokens.check(form, GATE), tokens.check(form, GATE)
        winner, _ = tokens.claim(*one[:2], lambda person: person)
        if fails:
            assert problem(tokens.claim, *two[:2], lambda person: person) == (500, "invalid_request", "")
        else:
            assert tokens.claim(*two[:2], lambda person: person)[0] == winner

    def test_login_during_a_refresh(self, clock):
        """A login between check and claim makes the refresh fail with 500."""
        tokens = RefreshTokens(clock, 0.0)
        record, presented, _ = tokens.check({"refresh_token": tokens.issue(GRANT)}, GATE)
        tokens.issue(GRANT)
        assert problem(tokens.claim, record, presented, lambda person: person)[0] == 500

    def test_fresh_data(self, clock):
        """What the connector knows today is in the grant."""
        refresh = Refresher(clock)
        refresh.person = replace(ALICE, groups=("new",))
        assert refresh(refresh.tokens.issue(GRANT))[1].person.groups == ("new",)

    def test_connector_failure_keeps_the_token(self, clock):
        """Somebody who is gone gets 500, and the token is not rotated."""
        tokens = RefreshTokens(clock, 0.0)
        form = {"refresh_token": tokens.issue(GRANT)}
        record, presented, _ = tokens.check(form, GATE)
        assert problem(tokens.claim, record, presented, lambda person: None) == (500, "invalid_request", "")
        assert tokens.check(form, GATE)

    def test_foreign_client(self, clock):
        """Another client's token is the one case of invalid_grant."""
        refresh = Refresher(clock)
        assert problem(refresh, refresh.tokens.issue(GRANT), PEER) == (400, "invalid_grant", INVALID[2])

    @pytest.mark.parametrize("token", ["nonsense", "x" * 80])
    def test_nonsense(self, clock, token):
        """An unknown token is invalid_request."""
        assert problem(Refresher(clock), token) == INVALID

    def test_missing(self, clock):
        """No token at all has its own text."""
        assert problem(Refresher(clock), "")[2] == "No refresh token is found in request."

    def test_revoked(self, clock):
        """A revoked person's tokens are unknown."""
        refresh = Refresher(clock)
        token = refresh.tokens.issue(GRANT)
        refresh.tokens.revoke(ALICE.user_id)
        assert problem(refresh, token) == INVALID

    def test_ended_session(self, clock):
        """The end of a session is invalid_grant, for its tokens only."""
        refresh = Refresher(clock)
        token = refresh.tokens.issue(replace(GRANT, sid="s"))
        other = refresh.tokens.issue(replace(GRANT, sid="t", person=BOB))
        refresh.tokens.end_session("s")
        assert problem(refresh, token)[:2] == (400, "invalid_grant")
        assert refresh(other)

    def test_scopes(self, clock):
        """Scopes can be narrowed for one refresh and not widened."""
        tokens = RefreshTokens(clock, 0.0)
        form = {"refresh_token": tokens.issue(GRANT)}
        assert tokens.check(form, GATE)[2] == FULL
        assert tokens.check(form | {"scope": "openid email"}, GATE)[2] == ("openid", "email")
        text = 'Requested scopes contain unauthorized scope(s): ["foo" "bar"].'
        wide = form | {"scope": "openid foo bar"}
        assert problem(tokens.check, wide, GATE) == (400, "invalid_request", text)


def basic(client_id, secret):
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


class TestAuthenticated:
    def test_header_is_form_decoded(self):
        """Both parts of the header are form-url-decoded."""
        odd = Client("a b", "p%:+", ())
        assert authenticated(basic("a+b", "p%25%3A%2B"), {}, {odd.id: odd}) is odd

    def test_form(self):
        """Without a header the form counts."""
        assert authenticated("", {"client_id": "gate", "client_secret": "s3cret"}, CLIENTS) is GATE

    def test_public(self):
        """A public client has no secret to give."""
        assert authenticated("", {"client_id": "native"}, CLIENTS) is NATIVE

    @pytest.mark.parametrize(
        ("header", "form"),
        [
            (basic("gate", "no"), {}),
            (basic("gate", "no"), {"client_id": "gate", "client_secret": "s3cret"}),
            (basic("nobody", "s3cret"), {}),
            ("", {"client_id": "gate"}),
            ("Basic ???", {}),
            ("Bearer Z2F0ZTpzM2NyZXQ=", {}),
        ],
        ids=["secret", "header-first", "unknown", "no-secret", "malformed", "scheme"],
    )
    def test_refused(self, header, form):
        """Whatever is wrong, the answer is 401 invalid_client."""
        assert problem(authenticated, header, form, CLIENTS)[:2] == (401, "invalid_client")

    def test_bad_escape(self):
        """A stray percent sign is the request's fault, not the secret's."""
        expected = (400, "invalid_request", "client_secret improperly encoded")
        assert problem(authenticated, basic("gate", "100%"), {}, CLIENTS) == expected


def asked(**changes):
    """A correct query with changes; None removes a parameter."""
    query = {"client_id": "gate", "redirect_uri": CALLBACK, "scope": "openid", "response_type": "code"} | changes
    return {name: value for name, value in query.items() if value is not None}


class TestAuthorizationRequest:
    def test_accepted(self):
        """All that is asked for is kept; PKCE without a method means plain."""
        request = authorization_request(asked(state="s", nonce="n", code_challenge="c"), CLIENTS)
        assert (request.state, request.nonce, request.challenge_method) == ("s", "n", "plain")

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"client_id": "nobody"}, 404),
            ({"redirect_uri": CALLBACK + "/"}, 400),
            ({"redirect_uri": None}, 400),
            ({"redirect_uri": "%zz"}, 400),
        ],
        ids=["client", "slash", "missing", "escape"],
    )
    def test_pages(self, changes, status):
        """These never come back to the client."""
        with pytest.raises(Refused) as caught:
            authorization_request(asked(**changes), CLIENTS)
        assert caught.value.status == status

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"scope": "email"}, "invalid_scope"),
            ({"scope": "openid what"}, "invalid_scope"),
            ({"scope": "openid audience:server:client_id:native"}, "invalid_scope"),
            ({"scope": "openid audience:server:client_id:nobody"}, "invalid_scope"),
            ({"scope": "openid audience:server:client_id:"}, "invalid_scope"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "code id_token"}, "unsupported_response_type"),
            ({"response_type": "what"}, "invalid_request"),
            ({"response_type": None}, "invalid_request"),
            ({"code_challenge_method": "S512"}, "invalid_request"),
            ({"request": "eyJ"}, "request_not_supported"),
        ],
    )
    def test_errors(self, changes, error):
        """These come back with Dex's error and the state."""
        with pytest.raises(SentBack) as caught:
            authorization_request(asked(state="s", **changes), CLIENTS)
        parameters = dict(caught.value.parameters)
        assert (caught.value.redirect_uri, parameters["error"], parameters["state"]) == (CALLBACK, error, "s")

    def test_trusted_peer(self):
        """A client may ask for the audience of one that trusts it, and for its own."""
        scope = "openid audience:server:client_id:peer audience:server:client_id:gate"
        assert authorization_request(asked(scope=scope), CLIENTS)

    @pytest.mark.parametrize(
        ("uri", "fine"),
        [
            ("http://localhost:8000/x", True),
            ("http://127.0.0.1/", True),
            ("http://[::1]:1/", True),
            ("https://localhost/", False),
            ("http://localhost.example/", False),
        ],
    )
    def test_public_client_on_this_machine(self, uri, fine):
        """A public client without registered addresses may use the loopback host, by plain HTTP."""
        assert NATIVE.accepts_redirect(uri) is fine


def test_logout_claims():
    """A logout token has an event, a sid and two minutes, and no nonce."""
    session = Sessions().start(ALICE)
    claims = logout_claims(session, "gate", issuer="i", now=100)
    assert claims["events"] == {LOGOUT_EVENT: {}}
    assert (claims["aud"], claims["sid"], claims["exp"]) == ("gate", session.sid, 220)
    assert "nonce" not in json.dumps(claims)


@pytest.mark.parametrize("book", [Codes(Clock()), RefreshTokens(Clock(), 0.0), Sessions()], ids=repr)
def test_repr_counts(book):
    """Books of secrets show how many they hold, not which."""
    assert repr(book) == f"<{type(book).__name__} 0>"
