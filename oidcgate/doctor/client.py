"""
The gate as the issuer's client: known by its id, its redirect URI, its secret, and to the clusters' own clients.

Edge by its calls. Nobody signs in: the issuer is asked for a login page, and given a code that nobody has. Dex checks a
request only behind its choice of connectors, so a redirect or link that still carries the request is followed.
"""

import re
import secrets
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

from oidcgate.config.model import Provider as ProviderSection
from oidcgate.config.secret import SecretFile, UnusableSecret, read_environment
from oidcgate.doctor.calls import Seen
from oidcgate.doctor.issuer import AUDIENCE, settings_of
from oidcgate.doctor.reaching import unreached
from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.scene import Issuer, Scene, Visit
from oidcgate.doctor.stages import Unreached
from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.authorization import authorization_url
from oidcgate.oidc.tokens import choose_auth_method, code_request

MOST_STEPS: Final = 4
LINK: Final = re.compile(r'href="([^"]+)"')
REDIRECT_URIS: Final = "Dex: staticClients.redirectURIs"


async def check_client(scene: Scene, issuer: Issuer) -> list[Said]:
    """The issuer takes the gate's login requests."""
    try:
        seen, url = await asked(scene, issuer, issuer.section.scopes)
    except Unreached as error:
        return [unreached(error, settings_of(issuer))]
    return [judge_client(seen, url, issuer)]


async def asked(scene: Scene, issuer: Issuer, scopes: tuple[str, ...]) -> tuple[Seen, str]:
    """
    The answer to a login request, and where it was given.

    Raises:
        Unreached: there is none.
    """
    url = authorization_url(
        issuer.known,
        client_id=issuer.section.client_id,
        redirect_uri=issuer.callback,
        scopes=scopes,
        state=secrets.token_urlsafe(16),
        nonce=secrets.token_urlsafe(16),
        verifier=secrets.token_urlsafe(48),
    )
    for _ in range(MOST_STEPS):
        seen = await scene.caller.call(issuer.inside(url), issuer.way, headers={"Accept": "text/html"})
        onward = next_step(seen, url)
        if onward is None:
            break
        url = onward
    return seen, url


def next_step(seen: Seen, url: str) -> str | None:
    """Where the same request goes on at the issuer, unchecked so far."""
    if 300 <= seen.status < 400:
        found = [seen.headers.get("Location", "")]
    else:
        found = [unescape(link) for link in LINK.findall(seen.text)] if seen.status == 200 else []
    home = urlsplit(url)
    ours = parse_qs(home.query)
    for each in found:
        target = urljoin(url, each)
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        same = all(query.get(name) == ours[name] for name in ("client_id", "redirect_uri"))
        if same and (parts.scheme, parts.netloc) == (home.scheme, home.netloc) and target != url:
            return target
    return None


def sent_back(seen: Seen, issuer: Issuer) -> tuple[str, str] | None:
    """Error and description, when the answer goes back to the gate with one."""
    location = seen.headers.get("Location", "")
    if not location.startswith(f"{issuer.callback}?"):
        return None
    query = parse_qs(urlsplit(location).query)
    error = query.get("error", [""])[0]
    return (error, query.get("error_description", [""])[0][:200]) if error else None


def judge_client(seen: Seen, url: str, issuer: Issuer) -> Said:
    """The finding about the answer to a login request."""
    client_id = issuer.section.client_id
    if error := sent_back(seen, issuer):
        if error[0] == "invalid_scope":
            return fail(
                f"{error[0]}: {error[1]}", issuer.key("scopes"), "leave out the scope that the issuer does not grant"
            )
        todo = "let this client use the authorization code flow"
        return fail(f"{error[0]}: {error[1]}", "Dex: staticClients", todo)
    if seen.status >= 500:
        return fail(
            f"{urlsplit(url).path} answers {seen.status}", "Dex: its connectors", "see its log: it cannot begin a login"
        )
    if seen.status < 400:
        return ok(f"the issuer knows {client_id} and {issuer.callback}")
    text = seen.text.lower()
    if seen.status == 404 or ("client_id" in text and "redirect" not in text):
        return fail(
            f"it does not know the client {client_id!r} ({seen.status})",
            issuer.key("client_id"),
            "write the id as in Dex's staticClients, or add it there",
        )
    return fail(
        f"it does not take the redirect URI of {client_id!r} ({seen.status})", REDIRECT_URIS, f"add {issuer.callback}"
    )


def read_secret(section: ProviderSection) -> str | None:
    """
    The client's secret; None for a public client.

    Raises:
        UnusableSecret: it cannot be read.
    """
    if section.client_secret_file is not None:
        return SecretFile(Path(section.client_secret_file)).read()
    return None if section.client_secret_env is None else read_environment(section.client_secret_env)


async def check_secret(scene: Scene, issuer: Issuer) -> list[Said]:
    """The issuer takes the client's secret, told by how it refuses a code that nobody has."""
    section = issuer.section
    key = issuer.key("client_secret_env" if section.client_secret_env else "client_secret_file")
    try:
        secret = read_secret(section)
        method = choose_auth_method(issuer.known.auth_methods, confidential=secret is not None)
    except UnusableSecret as error:
        return [fail(str(error), key, "give the secret there")]
    except InvalidMetadata as error:
        return [fail(str(error), "Dex: its discovery document", "let the issuer take client_secret_basic")]
    request = code_request(
        client_id=section.client_id,
        client_secret=secret,
        auth_method=method,
        code="doctor",
        redirect_uri=issuer.callback,
        verifier=secrets.token_urlsafe(48),
    )
    try:
        seen = await scene.caller.call(
            issuer.inside(issuer.known.token_endpoint),
            issuer.way,
            method="POST",
            headers=request.headers,
            data=request.body,
        )
    except Unreached as error:
        return [unreached(error, settings_of(issuer))]
    return [judge_secret(seen, key, is_public=secret is None)]


def judge_secret(seen: Seen, key: str, *, is_public: bool) -> Said:
    """The finding about the token endpoint's refusal."""
    if seen.status == 401 or '"invalid_client"' in seen.text or '"unauthorized_client"' in seen.text:
        if is_public:
            return fail("the client has a secret at the issuer, and none here", key, "give its secret there")
        return fail("the issuer does not take the client's secret", key, "put the secret of Dex's staticClients there")
    if '"error"' in seen.text:
        return ok(
            "the client needs no secret: PKCE protects it" if is_public else "the issuer takes the client's secret"
        )
    if seen.status >= 500:
        return warn(
            f"the token endpoint answers {seen.status}", "Dex: its process", "see its log; tokens may not be had"
        )
    return warn(f"the token endpoint answers {seen.status} to a wrong code", "Dex: its proxy", "see what answers there")


async def check_audience(scene: Scene, visit: Visit) -> list[Said]:
    """The issuer would give a token for the site's own cluster."""
    issuer, audience = scene.issuer_of(visit), scene.audience_of(visit)
    try:
        seen, _ = await asked(scene, issuer, (*issuer.section.scopes, AUDIENCE + audience))
    except Unreached as error:
        return [unreached(error, settings_of(issuer))]
    refusal = sent_back(seen, issuer)
    if refusal is None:
        return [ok(f"tokens for {audience} can be had")]
    return [
        fail(
            ": ".join(refusal),
            f"Dex: staticClients (id: {audience}).trustedPeers",
            f"add {issuer.section.client_id}, and see that a client {audience} is there; "
            f"or correct {visit.key('provider.audience')}: until then every login fails",
        )
    ]
