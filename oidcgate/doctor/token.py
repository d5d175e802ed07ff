"""
The token: one that a person really has, judged by the gate's own code.

Edge by the provider's keys. It is shown to nobody but the clusters that it is for, and printed nowhere.
"""

from typing import Final

from oidcgate.doctor.device import NoToken, Terminal, sign_in
from oidcgate.doctor.issuer import settings_of
from oidcgate.doctor.reaching import unreached
from oidcgate.doctor.report import Said, fail, ok, skip, warn
from oidcgate.doctor.scene import Bearer, Issuer, Scene
from oidcgate.doctor.stages import Unreached
from oidcgate.errors import InvalidIdToken
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.idtoken import MAX_TOKEN
from oidcgate.oidc.strictjson import decode_base64url, loads_object
from oidcgate.oidc.tokens import TokenSet
from oidcgate.web.identity import WARN_TOKEN

KONG: Final = 8000  # bytes; a header line of 8 kB is the most that nginx and Kong take by default
SEVERAL: Final = "a token for several sites would open them all: name one of them with --site, and sign in for that"
NO_PUBLIC_CLIENT: Final = (
    "a sign-in here needs a client without a secret, as sites[].kubectl.client_id is, since Dex shows a secret to the "
    "browser; or give a token with --token-file"
)
HOW: Final = "no token was given: name a file with an ID token by --token-file, or sign in with --login"


async def check_token(scene: Scene, issuer: Issuer, terminal: Terminal) -> list[Said]:
    """A token is for this client, of this issuer, and good now."""
    raw = scene.raw
    if raw is None and scene.wants_login:
        client_id, audience, why_not = who_signs_in(scene, issuer)
        if why_not:
            return [skip(why_not)]
        try:
            raw = await sign_in(scene, issuer, terminal, client_id=client_id, audience=audience)
        except NoToken as error:
            return [fail(str(error), "Dex: staticClients", error.fix)]
        except Unreached as error:
            return [unreached(error, settings_of(issuer))]
    if raw is None:
        return [skip(HOW)]
    if not fits(raw, issuer) and any(fits(raw, other) for other in scene.issuers):
        return [skip("the token is of another issuer or client")]
    return await judged(scene, issuer, raw)


def fits(raw: str, issuer: Issuer) -> bool:
    """Whether a token says of itself that it is of an issuer and client; nothing in it is verified."""
    try:
        payload = loads_object(decode_base64url(raw.split(".")[1]), max_bytes=MAX_TOKEN)
    except (IndexError, ValueError):
        return False
    audience = payload.get("aud")
    named = {audience} if isinstance(audience, str) else set(audience) if isinstance(audience, list) else set()
    return payload.get("iss") == issuer.section.issuer and bool(
        named & {issuer.section.client_id, *kubectl_clients(issuer)}
    )


def who_signs_in(scene: Scene, issuer: Issuer) -> tuple[str, str, str]:
    """The client that a person signs in with, which has no secret; the audience asked for; and why that cannot be."""
    section = issuer.section
    if len(scene.issuers) > 1:
        return "", "", SEVERAL
    if section.client_secret_file is None and section.client_secret_env is None:
        audiences = {scene.audience_of(visit) for visit in issuer.visits}
        return section.client_id, min(audiences), SEVERAL if len(audiences) > 1 else ""
    clients = kubectl_clients(issuer)
    if not clients:
        return "", "", NO_PUBLIC_CLIENT
    return min(clients), "", SEVERAL if len(clients) > 1 else ""


def kubectl_clients(issuer: Issuer) -> frozenset[str]:
    """The sites' clients for kubectl."""
    ids = (visit.config.kubectl.client_id for visit in issuer.visits)
    return frozenset(each for each in ids if each is not None)


async def judged(scene: Scene, issuer: Issuer, raw: str) -> list[Said]:
    """The findings about a token; one for kubectl does, too, where the sites have a client for it."""
    audiences = {scene.audience_of(visit) for visit in issuer.visits}
    allowed = frozenset(issuer.section.audiences) | frozenset(audience for audience in audiences if audience)
    client_id, note = issuer.section.client_id, ""
    try:
        claims = await issuer.client.verify(TokenSet(raw), audiences=allowed)
    except InvalidIdToken as error:
        others = kubectl_clients(issuer)
        if error.claim != "aud" or not others:
            return [refused(error, issuer)]
        try:
            claims = await issuer.client.verify_program(raw, others)
        except InvalidIdToken as other:
            return [refused(error if other.claim == "aud" else other, issuer)]
        client_id = next(each for each in claims.audience if each in others)
        note = "; it is kubectl's, so it does not show whether the cluster takes the gate's own"
    scene.bearer = Bearer(raw, claims, issuer, client_id)
    left = claims.expires - scene.caller.clock()
    return [ok(f"{shown(claims)}, good for another {left:.0f} s{note}"), *remarks(raw, claims, issuer)]


def shown(claims: Claims) -> str:
    """Whom a token is about, and for whom it is."""
    groups = f" in {', '.join(claims.groups[:5])}{' …' if len(claims.groups) > 5 else ''}" if claims.groups else ""
    return f"{claims.email or claims.subject}{groups}, for {', '.join(claims.audience)}"


def refused(error: InvalidIdToken, issuer: Issuer) -> Said:
    """The finding about a token that the gate does not take, by the claim that is to blame."""
    client_id = issuer.section.client_id
    match error.claim:
        case "iss":
            key, todo = (
                issuer.key("issuer"),
                "use a token of this issuer; or write the one that tokens name, letter by letter",
            )
        case "aud":
            key, todo = issuer.key("client_id"), f"use a token for {client_id}; further ones are provider.audience(s)"
        case "azp":
            key, todo = issuer.key("client_id"), f"use a token that was issued to {client_id}, not to another client"
        case "exp" if "life" in str(error):
            key, todo = "provider.max_token_life", "raise it, or lower expiry.idTokens in Dex"
        case "exp":
            key, todo = "token: exp", "use a fresh one; it has run out"
        case "iat" | "nbf":
            key, todo = "provider.leeway", "set the clocks right, or raise it"
        case "alg":
            key, todo = "provider.algorithms", "add the algorithm, if the issuer is to use it"
        case "kid" | "signature":
            key, todo = issuer.key("issuer"), "use a token that this issuer signed with a key it still has"
        case claim:
            key, todo = f"token: {claim}", "use an ID token, as it came from the issuer"
    return fail(f"the token is not taken: {error}", key, todo)


def remarks(raw: str, claims: Claims, issuer: Issuer) -> list[Said]:
    """Warnings about a good token."""
    said: list[Said] = []
    if not claims.groups:
        asked = "groups" in issuer.section.scopes
        key = "Dex: its connector" if asked else issuer.key("scopes")
        todo = (
            "let the connector give groups (oidc: insecureEnableGroups; ldap: groupSearch)" if asked else "add groups"
        )
        said.append(warn("it has no groups, so RBAC can only name the person", key, todo))
    if claims.email and not claims.email_verified:
        todo = (
            "let the connector verify addresses; no rule by e-mail matches, and an API server refuses such a user name"
        )
        said.append(warn("its e-mail address is not verified", "Dex: its connector", todo))
    if len(raw) > KONG:
        todo = "let it give fewer groups, or raise large_client_header_buffers (in Kong with nginx_proxy_ before it)"
        said.append(warn(f"it has {len(raw)} bytes: nginx and Kong refuse a line of 8 kB", "Dex: its connector", todo))
    elif len(raw) > WARN_TOKEN:
        todo = "raise proxy_buffer_size where nginx asks the gate (auth_request), or let the gate carry the requests"
        said.append(
            warn(f"it has {len(raw)} bytes: too much for nginx's default buffers", "nginx: proxy_buffer_size", todo)
        )
    return said
