"""The demo issuer over real sockets: what a browser and a relying party get to see."""

import asyncio
import hashlib
import hmac
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from yarl import URL

from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer, Person, Quirks

ALICE, BOB, CAROL = DEMO_PEOPLE
CALLBACK = "http://gate.example/cb"
GATE = Client("gate", "s3cret", (CALLBACK, CALLBACK + "?site=a"), "The gate")
PEERS = tuple(Client(name, name, (CALLBACK,), trusted_peers=("gate",)) for name in ("east", "west"))
FULL = "openid email groups profile offline_access"
AUTHORIZE = {"client_id": "gate", "redirect_uri": CALLBACK, "response_type": "code", "scope": FULL, "state": "s t"}
CLAIMED = "Refresh token is invalid or has already been claimed by another client."


@pytest.fixture(scope="session")
def key():
    """One RSA key for all tests here."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def make(key):
    """Start an issuer with these options; stopped after the test."""
    started = []

    async def start(*, tls=None, **options):
        issuer = DemoIssuer(DEMO_PEOPLE, (GATE, *PEERS), **{"key": key} | options)
        started.append(issuer)
        await issuer.start(ssl_context=tls)
        return issuer

    yield start
    for issuer in started:
        await issuer.stop()


@pytest.fixture
async def issuer(make):
    """An issuer as Dex is by default."""
    return await make()


@dataclass
class Answer:
    """A reply, read to its end."""

    status: int
    headers: dict
    url: str
    text: str
    body: object = None

    @property
    def location(self):
        return self.headers["Location"]

    @property
    def parameters(self):
        """The query of the redirect, in order."""
        return parse_qsl(urlsplit(self.location).query, keep_blank_values=True)


class Visitor:
    """A browser that follows redirects only within the issuer, and the relying party behind it."""

    def __init__(self, issuer, http):
        self.issuer = issuer
        self.http = http

    async def send(self, method, url, **options):
        url = URL(url, encoded=True) if url.startswith("http") else URL(self.issuer.url + url, encoded=True)
        async with self.http.request(method, url, allow_redirects=False, **options) as reply:
            text = await reply.text()
            body = await reply.json() if reply.content_type == "application/json" and text else None
            return Answer(reply.status, dict(reply.headers), str(reply.url), text, body)

    async def authorize(self, **changes):
        """The form, an error page, or the redirect that leaves the issuer."""
        query = {name: value for name, value in (AUTHORIZE | changes).items() if value is not None}
        answer = await self.send("GET", str(URL(self.issuer.url + "/auth").with_query(query)))
        while answer.status in (302, 303) and not answer.location.startswith(CALLBACK):
            answer = await self.send("GET", str(URL(answer.url).join(URL(answer.location, encoded=True))))
        return answer

    async def sign_in(self, person=ALICE, **changes):
        """The redirect after the password."""
        answer = await self.authorize(**changes)
        if answer.status == 200:
            form = {"login": person.login, "password": person.password}
            answer = await self.send("POST", answer.url, data=form)
        return answer

    async def token(self, *, client=GATE, **form):
        """A request at the token endpoint with Basic authentication."""
        headers = {"Authorization": aiohttp.encode_basic_auth(client.id, client.secret or "")}
        return await self.send("POST", "/token", data=form, headers=headers)

    async def redeem(self, answer, **form):
        code = dict(answer.parameters)["code"]
        form = {"redirect_uri": CALLBACK} | form
        return await self.token(grant_type="authorization_code", code=code, **form)

    async def login(self, person=ALICE, **changes):
        """The token set of a whole login."""
        return (await self.redeem(await self.sign_in(person, **changes))).body

    async def refresh(self, token, **form):
        return await self.token(grant_type="refresh_token", refresh_token=token, **form)

    async def claims(self, token):
        """The claims, verified against the published keys."""
        keys = jwt.PyJWKSet.from_dict((await self.send("GET", "/keys")).body)
        key = keys[jwt.get_unverified_header(token)["kid"]].key
        checks = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        return jwt.decode(token, key, algorithms=["RS256"], issuer=self.issuer.url, options=checks)


@pytest.fixture
async def visit():
    """A `Visitor` for an issuer, with a cookie jar of its own."""
    opened = []

    def open_one(issuer, **connector):
        jar = aiohttp.CookieJar()
        http = aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(**connector))
        opened.append(http)
        return Visitor(issuer, http)

    yield open_one
    for http in opened:
        await http.close()


@pytest.fixture
async def visitor(issuer, visit):
    """A visitor of the default issuer."""
    return visit(issuer)


class TestDocuments:
    async def test_discovery(self, issuer, visitor):
        """The metadata are those of v2.45.1: no logout, no revocation, no iss flag."""
        answer = await visitor.send("GET", "/.well-known/openid-configuration")
        assert answer.body["issuer"] == issuer.url
        assert sorted(answer.body) == [
            *("authorization_endpoint", "claims_supported", "code_challenge_methods_supported"),
            *("device_authorization_endpoint", "grant_types_supported", "id_token_signing_alg_values_supported"),
            *("introspection_endpoint", "issuer", "jwks_uri", "response_types_supported", "scopes_supported"),
            *("subject_types_supported", "token_endpoint", "token_endpoint_auth_methods_supported"),
            "userinfo_endpoint",
        ]
        assert "Cache-Control" not in answer.headers

    async def test_keys(self, visitor):
        """The key set may be cached for ten minutes."""
        answer = await visitor.send("GET", "/keys")
        assert answer.headers["Cache-Control"] == "max-age=600, must-revalidate"
        assert answer.headers["Content-Type"] == "application/json"
        assert {name: value for name, value in answer.body["keys"][0].items() if name not in {"n", "kid"}} == {
            "use": "sig",
            "kty": "RSA",
            "alg": "RS256",
            "e": "AQAB",
        }

    async def test_health(self, visitor):
        """The health check is plain text."""
        answer = await visitor.send("GET", "/healthz")
        assert (answer.status, answer.text) == (200, "Health check passed")

    async def test_root(self, visitor):
        """The issuer's own address shows a page."""
        assert "openid-configuration" in (await visitor.send("GET", "")).text

    async def test_path_can_be_empty(self, make, visit):
        """An issuer can live at the root of its host."""
        visitor = visit(await make(path=""))
        assert visitor.issuer.url.count("/") == 2
        assert (await visitor.send("GET", "/")).status == 200
        assert (await visitor.login())["id_token"]


class TestAuthorization:
    async def test_way_to_the_form(self, visitor):
        """Two redirects lead to the only connector's form."""
        first = await visitor.send("GET", str(URL(visitor.issuer.url + "/auth").with_query(AUTHORIZE)))
        assert first.status == 302
        assert first.location.startswith("/dex/auth/local?client_id=gate&")
        form = await visitor.authorize()
        assert urlsplit(form.url).path == "/dex/auth/local/login"
        assert "Demo identity provider" in form.text

    async def test_code_comes_back(self, visitor):
        """After the password: 303 with code and state, the registered query kept, no iss."""
        answer = await visitor.sign_in(redirect_uri=CALLBACK + "?site=a")
        assert answer.status == 303
        assert [name for name, _ in answer.parameters] == ["code", "site", "state"]
        assert dict(answer.parameters)["state"] == "s t"

    async def test_absent_state_comes_back_empty(self, visitor):
        """Dex returns a state even if none was sent."""
        assert dict((await visitor.sign_in(state=None)).parameters)["state"] == ""

    async def test_address_is_a_login_name(self, visitor):
        """The e-mail address signs in as well."""
        assert (await visitor.sign_in(replace(BOB, login=BOB.email))).status == 303

    async def test_wrong_password(self, visitor):
        """The form comes again with 401 and what was typed; the client hears nothing."""
        answer = await visitor.sign_in(Person('"><i', "no", "", "", (), ""))
        assert answer.status == 401
        assert "Invalid login and password" in answer.text
        assert 'value="&quot;&gt;&lt;i"' in answer.text

    async def test_form_works_once(self, visitor):
        """Going back to a used form ends on an error page."""
        form = await visitor.authorize()
        data = {"login": "alice", "password": "alice"}
        assert (await visitor.send("POST", form.url, data=data)).status == 303
        assert (await visitor.send("POST", form.url, data=data)).status == 400

    async def test_form_expires(self, make, visit):
        """The password must come within a day."""
        now = [1_800_000_000.0]
        visitor = visit(await make(clock=lambda: now[0]))
        form = await visitor.authorize()
        now[0] += 86401
        answer = await visitor.send("POST", form.url, data={"login": "alice", "password": "alice"})
        assert (answer.status, "User session has expired." in answer.text) == (400, True)

    @pytest.mark.parametrize("query", ["", "?state=nonsense"])
    async def test_form_of_nothing(self, visitor, query):
        """A form without a request is an error page."""
        assert (await visitor.send("GET", "/auth/local/login" + query)).status == 400

    @pytest.mark.parametrize(
        ("changes", "status", "text"),
        [
            ({"client_id": "nobody"}, 404, "Invalid client_id."),
            ({"redirect_uri": CALLBACK + "/"}, 400, "Unregistered redirect_uri."),
            ({"connector_id": "ldap"}, 400, "Connector ID does not match a valid Connector"),
        ],
    )
    async def test_error_pages(self, visitor, changes, status, text):
        """A wrong client, address or connector is told to the browser only."""
        answer = await visitor.authorize(**changes)
        assert (answer.status, text in answer.text) == (status, True)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"

    async def test_unknown_connector_page(self, visitor):
        """Only one connector exists."""
        url = str(URL(visitor.issuer.url + "/auth/ldap").with_query(AUTHORIZE))
        assert (await visitor.send("GET", url)).status == 400

    async def test_error_comes_back(self, visitor):
        """An error is a 303 with error, description and state."""
        answer = await visitor.authorize(scope="openid what")
        assert answer.status == 303
        assert answer.parameters == [
            ("error", "invalid_scope"),
            ("error_description", 'Unrecognized scope(s) ["what"]'),
            ("state", "s t"),
        ]

    async def test_parameters_may_be_posted(self, visitor):
        """The authorization request may come as a form."""
        answer = await visitor.send("POST", "/auth", data=AUTHORIZE)
        assert answer.location.startswith("/dex/auth/local?client_id=gate&")

    async def test_prompt_is_ignored(self, visitor):
        """Without sessions prompt=none shows the form like anything else."""
        assert (await visitor.authorize(prompt="none")).status == 200

    async def test_hints(self, make, visit):
        """On request every person has a button that signs them in."""
        page = (await visit(await make(hints=True)).authorize()).text
        assert [f"Sign in as {person.name}" in page for person in DEMO_PEOPLE] == [True] * 3
        assert "Sign in as" not in (await visit(await make()).authorize()).text

    async def test_auto_login(self, make, visit):
        """Somebody already signed in upstream is sent back at once, errors included."""
        visitor = visit(await make(auto_login="bob"))
        url = str(URL(visitor.issuer.url + "/auth").with_query(AUTHORIZE))
        answer = await visitor.send("GET", url)
        assert (answer.status, answer.location.startswith(CALLBACK)) == (303, True)
        claims = await visitor.claims((await visitor.redeem(answer)).body["id_token"])
        assert claims["email"] == "bob@example.com"
        assert (await visitor.authorize(client_id="nobody")).status == 404

    async def test_no_cookie(self, visitor):
        """Without sessions nothing is set."""
        assert "Set-Cookie" not in (await visitor.sign_in()).headers


class TestTokens:
    async def test_token_set(self, visitor):
        """The reply has Dex's members, type and headers."""
        answer = await visitor.redeem(await visitor.sign_in())
        assert sorted(answer.body) == ["access_token", "expires_in", "id_token", "refresh_token", "token_type"]
        assert answer.body["token_type"] == "bearer"
        assert 86390 <= answer.body["expires_in"] <= 86400
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "application/json"

    async def test_claims(self, visitor):
        """The ID token is bound to the request, the code and the access token."""
        answer = await visitor.sign_in(nonce="n-1")
        tokens = (await visitor.redeem(answer)).body
        claims = await visitor.claims(tokens["id_token"])
        assert (claims["aud"], claims["nonce"], claims["groups"]) == ("gate", "n-1", ["platform-admins"])
        assert claims["exp"] - claims["iat"] == 86400
        assert len(claims["at_hash"]) == len(claims["c_hash"]) == 22
        access = await visitor.claims(tokens["access_token"])
        assert set(claims) - set(access) == {"c_hash"}

    async def test_no_refresh_token_unasked(self, visitor):
        """Only offline_access brings a refresh token."""
        assert "refresh_token" not in await visitor.login(scope="openid")

    async def test_code_is_spent(self, visitor):
        """A used code is 400 invalid_grant."""
        answer = await visitor.sign_in()
        await visitor.redeem(answer)
        again = await visitor.redeem(answer)
        assert (again.status, again.body["error"]) == (400, "invalid_grant")

    async def test_foreign_code(self, visitor):
        """Another client's code is 500 server_error."""
        answer = await visitor.redeem(await visitor.sign_in(), client=PEERS[0])
        assert (answer.status, answer.body) == (500, {"error": "server_error"})

    async def test_pkce(self, visitor):
        """The verifier is checked."""
        challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        answer = await visitor.sign_in(code_challenge=challenge, code_challenge_method="S256")
        assert (await visitor.redeem(answer, code_verifier="wrong")).body["error"] == "invalid_grant"
        verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        assert (await visitor.redeem(answer, code_verifier=verifier)).status == 200

    async def test_wrong_secret(self, visitor):
        """A wrong secret is 401 invalid_client."""
        answer = await visitor.redeem(await visitor.sign_in(), client=replace(GATE, secret="no"))
        assert (answer.status, answer.body["error"]) == (401, "invalid_client")

    async def test_other_grant(self, visitor):
        """Other grants are not served, though discovery names them."""
        answer = await visitor.token(grant_type="urn:ietf:params:oauth:grant-type:token-exchange")
        assert (answer.status, answer.body) == (400, {"error": "unsupported_grant_type"})

    async def test_get(self, visitor):
        """Only POST is served."""
        assert (await visitor.send("GET", "/token")).body["error_description"] == "method not allowed"


class TestRefresh:
    async def test_new_tokens(self, visitor):
        """The nonce is repeated, c_hash is gone, the refresh token is another."""
        tokens = await visitor.login(nonce="n-1")
        fresh = (await visitor.refresh(tokens["refresh_token"])).body
        claims = await visitor.claims(fresh["id_token"])
        assert (claims["nonce"], "at_hash" in claims, "c_hash" in claims) == ("n-1", True, False)
        assert fresh["refresh_token"] != tokens["refresh_token"]

    async def test_reused_token(self, visitor):
        """A reused refresh token is 400 invalid_request, with Dex's text."""
        tokens = await visitor.login()
        await visitor.refresh(tokens["refresh_token"])
        answer = await visitor.refresh(tokens["refresh_token"])
        assert answer.status == 400
        assert answer.body == {"error": "invalid_request", "error_description": CLAIMED}

    async def test_second_browser_kills_the_first(self, visitor):
        """One person, one client, one refresh token."""
        first, second = await visitor.login(), await visitor.login()
        assert (await visitor.refresh(first["refresh_token"])).status == 400
        assert (await visitor.refresh(second["refresh_token"])).status == 200

    async def test_three_at_once(self, visitor):
        """Of three refreshes of one token, one wins."""
        token = (await visitor.login())["refresh_token"]
        answers = await asyncio.gather(*(visitor.refresh(token) for _ in range(3)))
        assert sorted(answer.status for answer in answers) == [200, 400, 400]

    async def test_really_overlapping(self, issuer, visitor):
        """Two held between check and claim: one wins, the other gets 500 invalid_request without text."""
        token = (await visitor.login())["refresh_token"]
        issuer.quirks.hang.add("token:refresh")
        waiting = [asyncio.ensure_future(visitor.refresh(token)) for _ in range(2)]
        await issuer.wait_for("token:refresh", 2)
        issuer.release()
        lost, won = sorted(await asyncio.gather(*waiting), key=lambda answer: -answer.status)
        assert (won.status, lost.status, lost.body) == (200, 500, {"error": "invalid_request"})

    async def test_groups_follow_the_person(self, issuer, visitor):
        """Groups are read again at each refresh."""
        tokens = await visitor.login()
        issuer.replace_person(replace(ALICE, groups=("new", "newer")))
        fresh = (await visitor.refresh(tokens["refresh_token"])).body
        assert (await visitor.claims(fresh["id_token"]))["groups"] == ["new", "newer"]

    async def test_person_is_gone(self, issuer, visitor):
        """A deleted account fails with 500 invalid_request."""
        tokens = await visitor.login()
        issuer.remove_person(ALICE.user_id)
        answer = await visitor.refresh(tokens["refresh_token"])
        assert (answer.status, answer.body) == (500, {"error": "invalid_request"})

    async def test_one_grant_many_audiences(self, visitor):
        """Narrowing the scope of a refresh picks the audience, again and again."""
        scope = f"{FULL} audience:server:client_id:east audience:server:client_id:west"
        tokens = await visitor.login(scope=scope)
        claims = await visitor.claims(tokens["id_token"])
        assert (claims["aud"], claims["azp"]) == (["east", "west", "gate"], "gate")
        for peer in ("east", "west"):
            narrow = f"openid offline_access audience:server:client_id:{peer}"
            tokens = (await visitor.refresh(tokens["refresh_token"], scope=narrow)).body
            assert (await visitor.claims(tokens["id_token"]))["aud"] == [peer, "gate"]
        tokens = (await visitor.refresh(tokens["refresh_token"], scope="openid")).body
        claims = await visitor.claims(tokens["id_token"])
        assert (claims["aud"], "azp" in claims) == ("gate", False)

    async def test_reuse_interval(self, make, visit):
        """Inside the interval a current token comes back itself, as with Dex."""
        visitor = visit(await make(reuse_interval=3600.0))
        token = (await visitor.login())["refresh_token"]
        answers = await asyncio.gather(*(visitor.refresh(token) for _ in range(3)))
        assert {answer.body["refresh_token"] for answer in answers} == {token}


class TestUserinfo:
    async def test_claims_of_the_token(self, visitor):
        """Any token of ours is answered with its own claims."""
        tokens = await visitor.login()
        for name in ("access_token", "id_token"):
            headers = {"Authorization": f"bearer {tokens[name]}"}
            assert (await visitor.send("GET", "/userinfo", headers=headers)).body == await visitor.claims(tokens[name])

    async def test_without_token(self, visitor):
        """No token: 401 and a challenge."""
        answer = await visitor.send("GET", "/userinfo")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    async def test_bad_token(self, visitor):
        """A bad token: 403."""
        headers = {"Authorization": "Bearer nonsense"}
        assert (await visitor.send("GET", "/userinfo", headers=headers)).status == 403


class TestProgram:
    async def test_counts_calls(self, issuer, visitor):
        """Requests are counted by name, in order."""
        tokens = await visitor.login()
        await visitor.refresh(tokens["refresh_token"])
        assert issuer.calls["token"] == 2
        assert issuer.events == [
            *("auth", "auth:connector", "login", "login"),
            *("token", "token:code", "token", "token:refresh"),
        ]

    async def test_rotation(self, issuer, visitor):
        """A new key signs at once, and the old one stays published."""
        before = (await visitor.login())["id_token"]
        issuer.rotate_keys()
        after = (await visitor.login())["id_token"]
        assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
        assert (await visitor.claims(before))["sub"] == (await visitor.claims(after))["sub"]

    async def test_outage(self, issuer, visitor):
        """Stopped and started again, the issuer has its port, its forms and its tokens."""
        url, token, form = issuer.url, (await visitor.login())["refresh_token"], await visitor.authorize()
        await issuer.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await visitor.refresh(token)
        await issuer.start()
        assert issuer.url == url
        assert (await visitor.refresh(token)).status == 200
        data = {"login": "alice", "password": "alice"}
        assert (await visitor.send("POST", form.url, data=data)).status == 303

    async def test_stop_cuts_hanging_requests(self, issuer, visitor):
        """A hanging request does not keep the issuer alive."""
        issuer.quirks.hang.add("keys")
        waiting = asyncio.ensure_future(visitor.send("GET", "/keys"))
        await issuer.wait_for("keys")
        await issuer.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await waiting

    async def test_stop_twice(self, make):
        """Stopping what is not running does nothing, and nothing has a URL before its start."""
        issuer = DemoIssuer(())
        await issuer.stop()
        with pytest.raises(RuntimeError):
            _ = issuer.url
        assert repr(issuer) == "<DemoIssuer not started/dex>"

    async def test_port_in_use(self, issuer):
        """A taken port is an OSError, and nothing stays behind."""
        other = DemoIssuer(())
        with pytest.raises(OSError, match="address already in use"):
            await other.start(port=URL(issuer.url).port)

    async def test_forget(self, issuer, visitor):
        """A restart of a Dex with memory storage loses keys and tokens."""
        tokens = await visitor.login()
        issuer.forget()
        assert (await visitor.refresh(tokens["refresh_token"])).body["error_description"] == CLAIMED
        with pytest.raises(KeyError):
            await visitor.claims(tokens["id_token"])

    async def test_client_added_later(self, issuer, visitor):
        """The redirect address can be registered after the start."""
        issuer.add_client(replace(GATE, redirect_uris=(CALLBACK + "/late",)))
        assert (await visitor.authorize()).status == 400
        assert (await visitor.authorize(redirect_uri=CALLBACK + "/late")).status == 200

    async def test_tls(self, make, visit, key, tmp_path):
        """With a context the issuer speaks TLS and says so in its URL."""
        server, client = contexts(key, tmp_path)
        visitor = visit(await make(tls=server), ssl=client)
        assert visitor.issuer.url.startswith("https://localhost:")
        assert (await visitor.send("GET", "/healthz")).status == 200


def contexts(key, directory):
    """TLS for localhost: the server's side, and a client's side that trusts it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = directory / "both.pem"
    file.write_bytes(key.private_bytes(*private) + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


class TestQuirks:
    async def test_claims_and_header(self, issuer, visitor):
        """Claims and header can be changed; the signature stays right."""
        issuer.quirks.claims = lambda claims: claims | {"aud": "elsewhere"}
        issuer.quirks.header = lambda header: header | {"typ": "odd"}
        tokens = await visitor.login()
        assert (await visitor.claims(tokens["id_token"]))["aud"] == "elsewhere"
        assert jwt.get_unverified_header(tokens["id_token"])["typ"] == "odd"
        assert "typ" not in jwt.get_unverified_header(tokens["access_token"])

    async def test_sign(self, issuer, visitor):
        """A token can be signed by anything."""
        secret = b"0" * 32
        issuer.quirks.sign = lambda _header, claims: jwt.encode(claims, secret, "HS256")
        head, _, signature = (await visitor.login())["id_token"].rpartition(".")
        digest = hmac.new(secret, head.encode(), hashlib.sha256).digest()
        assert jwt.utils.base64url_decode(signature) == digest

    async def test_token_reply(self, issuer, visitor):
        """The token set can be changed, or be no JSON at all, with any status."""
        issuer.quirks.token_reply = lambda reply: reply | {"token_type": "BEARER"}
        assert (await visitor.login())["token_type"] == "BEARER"
        issuer.quirks = Quirks(token_reply=lambda _: b"", token_status=204)
        assert (await visitor.redeem(await visitor.sign_in())).status == 204

    async def test_documents(self, issuer, visitor):
        """Keys and metadata can be changed."""
        issuer.quirks.jwks = lambda _: {"keys": []}
        issuer.quirks.discovery = lambda document: document | {"issuer": "http://other.example"}
        assert (await visitor.send("GET", "/keys")).body == {"keys": []}
        metadata = await visitor.send("GET", "/.well-known/openid-configuration")
        assert metadata.body["issuer"] == "http://other.example"

    async def test_callback_parameters(self, issuer, visitor):
        """Parameters of the redirect can be added and doubled."""
        issuer.quirks.callback_params = lambda pairs: [*pairs, ("state", "2"), ("iss", issuer.url)]
        answer = await visitor.sign_in()
        assert [name for name, _ in answer.parameters] == ["code", "state", "state", "iss"]

    async def test_failure(self, issuer, visitor):
        """An endpoint can fail with a short page, as behind a broken ingress."""
        issuer.quirks.fail["token"] = 503
        answer = await visitor.token()
        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")

    async def test_lost_reply(self, issuer, visitor):
        """A reply lost after the rotation costs the refresh token."""
        token = (await visitor.login())["refresh_token"]
        issuer.quirks.drop.add("token:reply")
        with pytest.raises(aiohttp.ClientConnectionError):
            await visitor.refresh(token)
        issuer.quirks.drop.clear()
        assert (await visitor.refresh(token)).status == 400

    async def test_delay(self, issuer, visitor):
        """A delayed endpoint answers in the end."""
        issuer.quirks.delay["keys"] = 0.001
        assert (await visitor.send("GET", "/keys")).status == 200


@dataclass
class Listener:
    """A client that hears of logouts."""

    client: Client
    tokens: list


@pytest.fixture
async def listener():
    """A back-channel endpoint that keeps the logout tokens."""
    tokens = []

    async def hear(request):
        tokens.append((await request.post())["logout_token"])
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/backchannel", hear)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    uri = f"http://127.0.0.1:{runner.addresses[0][1]}/backchannel"
    yield Listener(
        replace(GATE, backchannel_logout_uri=uri, post_logout_redirect_uris=("http://gate.example/bye",)), tokens
    )
    await runner.cleanup()


class TestSessions:
    @pytest.fixture
    async def visitor(self, make, visit, listener):
        """A visitor of an issuer with sessions, whose client hears of logouts; cookies need a host name."""
        issuer = await make(sessions=True)
        issuer.add_client(listener.client)
        return visit(issuer)

    async def test_discovery(self, visitor):
        """Sign-out and back channel are announced."""
        body = (await visitor.send("GET", "/.well-known/openid-configuration")).body
        assert body["end_session_endpoint"] == visitor.issuer.url + "/logout"
        assert body["backchannel_logout_supported"] is body["backchannel_logout_session_supported"] is True

    async def test_no_logout_without(self, make, visit):
        """v2.45.1 has no such endpoint."""
        assert (await visit(await make()).send("GET", "/logout")).status == 404

    async def test_claims(self, visitor):
        """Tokens carry sid, auth_time and jti."""
        claims = await visitor.claims((await visitor.login())["id_token"])
        assert {"sid", "auth_time", "jti"} <= set(claims)

    async def test_signed_in_already(self, visitor):
        """The same client is spared the form, with the same sid; prompt=login shows it."""
        first = await visitor.claims((await visitor.login())["id_token"])
        answer = await visitor.authorize(prompt="none")
        assert answer.status == 303
        again = await visitor.claims((await visitor.redeem(answer)).body["id_token"])
        assert again["sid"] == first["sid"]
        assert (await visitor.authorize(prompt="login")).status == 200
        assert (await visitor.authorize(client_id="east")).status == 200

    async def test_not_signed_in(self, visitor):
        """prompt=none without a session comes back as login_required."""
        assert dict((await visitor.authorize(prompt="none")).parameters)["error"] == "login_required"

    async def test_cookie(self, visitor):
        """The cookie is out of scripts' reach and kept to the issuer's path."""
        cookie = (await visitor.sign_in()).headers["Set-Cookie"]
        assert cookie.startswith("demo-issuer=")
        assert {"HttpOnly", "Path=/dex", "SameSite=Lax"} <= set(cookie.split("; "))

    async def test_password_again(self, visitor):
        """The same person with the password again keeps the session, with a new auth_time."""
        now = [2_000_000_000.0]
        visitor.issuer.clock = lambda: now[0]
        first = await visitor.claims((await visitor.login())["id_token"])
        now[0] += 60
        second = await visitor.claims((await visitor.login(prompt="login"))["id_token"])
        assert (second["sid"], second["auth_time"] - first["auth_time"]) == (first["sid"], 60)

    async def test_another_person(self, visitor):
        """Somebody else at the same browser gets a session of their own."""
        first = await visitor.claims((await visitor.login())["id_token"])
        second = await visitor.claims((await visitor.login(BOB, prompt="login"))["id_token"])
        assert first["sid"] != second["sid"]

    async def test_logout(self, visitor, listener):
        """With a fitting hint the browser goes where the client registered, and the client is told."""
        tokens = await visitor.login()
        form = {
            "id_token_hint": tokens["id_token"],
            "post_logout_redirect_uri": "http://gate.example/bye",
            "state": "x",
        }
        answer = await visitor.send("POST", "/logout", data=form)
        assert (answer.status, answer.location) == (303, "http://gate.example/bye?state=x")
        told, claims = await visitor.claims(listener.tokens[0]), await visitor.claims(tokens["id_token"])
        assert (told["sid"], told["sub"], told["aud"]) == (claims["sid"], claims["sub"], "gate")
        refused = await visitor.refresh(tokens["refresh_token"])
        assert (refused.status, refused.body["error"]) == (400, "invalid_grant")
        assert (await visitor.authorize()).status == 200

    async def test_logout_without_hint(self, visitor, listener):
        """Without a hint the browser is asked first."""
        await visitor.login()
        assert "Sign out?" in (await visitor.send("GET", "/logout")).text
        assert listener.tokens == []
        assert "Signed out" in (await visitor.send("POST", "/logout", data={"confirm": "yes"})).text
        assert len(listener.tokens) == 1

    async def test_logout_of_nobody(self, visitor, listener):
        """Who has no session is signed out already."""
        assert "Signed out" in (await visitor.send("GET", "/logout")).text
        assert listener.tokens == []

    async def test_logout_to_a_foreign_address(self, visitor):
        """An address that the client did not register is an error page."""
        tokens = await visitor.login()
        query = f"?id_token_hint={tokens['id_token']}&post_logout_redirect_uri=http://evil.example/"
        assert (await visitor.send("GET", "/logout" + query)).status == 400

    async def test_groups_wait_for_the_next_login(self, visitor):
        """With sessions a refresh repeats what the login knew."""
        tokens = await visitor.login()
        visitor.issuer.replace_person(replace(ALICE, groups=("new",)))
        fresh = (await visitor.refresh(tokens["refresh_token"])).body
        assert (await visitor.claims(fresh["id_token"]))["groups"] == ["platform-admins"]

    async def test_ended_by_the_issuer(self, visitor, listener):
        """The issuer can end somebody's sessions, with logout tokens as crooked as wanted."""
        await visitor.login()
        visitor.issuer.quirks.logout_claims = lambda claims: claims | {"nonce": "n"}
        assert await visitor.issuer.end_sessions("alice") == [{"gate": 200}]
        assert (await visitor.claims(listener.tokens[0]))["nonce"] == "n"

    async def test_deaf_client(self, visitor, listener):
        """A client that cannot be reached does not stop the sign-out."""
        visitor.issuer.add_client(replace(listener.client, backchannel_logout_uri="http://127.0.0.1:1/"))
        await visitor.login()
        assert await visitor.issuer.end_sessions("alice") == [{"gate": None}]
