"""
The issuer: it can be reached, says who it is in the very letters of the configuration, and has keys of a kind we take.

Edge by its calls.
"""

import json
from urllib.parse import urlsplit

from oidcgate.doctor.reaching import Settings, certified, unreached
from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.scene import Issuer, Scene
from oidcgate.doctor.stages import Unreached
from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.keyset import ALGORITHMS, KeySet, parse_keyset
from oidcgate.oidc.metadata import discovery_url, parse_metadata

AUDIENCE = "audience:server:client_id:"


def settings_of(issuer: Issuer) -> Settings:
    """The keys that the way to it goes by."""
    address = "internal_url" if issuer.section.internal_url else "issuer"
    return Settings("the issuer", issuer.key(address), issuer.key("ca_file"))


async def check_reached(scene: Scene, issuer: Issuer) -> list[Said]:
    """Name, connection and certificate."""
    url = issuer.inside(discovery_url(issuer.section.issuer))
    if issuer.section.proxy:
        return [ok("reached through provider.proxy")]
    place = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    try:
        certificate = await scene.caller.reach(place, issuer.way)
    except Unreached as error:
        return [unreached(error, settings_of(issuer))]
    if certificate is None:
        return [ok(f"{place} takes connections")]
    return [certified(certificate, scene.caller.clock(), settings_of(issuer))]


async def check_discovery(scene: Scene, issuer: Issuer) -> list[Said]:
    """The discovery document is there, is this issuer's, and offers what a login asks for."""
    url = issuer.inside(discovery_url(issuer.section.issuer))
    settings = Settings("the proxy", "provider.proxy") if issuer.section.proxy else settings_of(issuer)
    try:
        seen = await scene.caller.call(url, issuer.way)
    except Unreached as error:
        return [unreached(error, settings)]
    if seen.status >= 500 or seen.status == 429:
        return [
            fail(f"{url} answers {seen.status}", "Dex: its process", "see its log; a proxy before it may not reach it")
        ]
    if seen.status != 200:
        todo = (
            "write the issuer as in Dex's own configuration, with its path (such as /dex) and without a slash too many"
        )
        return [fail(f"{url} answers {seen.status}", issuer.key("issuer"), todo)]
    return read_document(seen.body, issuer)


def read_document(body: bytes, issuer: Issuer) -> list[Said]:
    """The findings about a discovery document, which the issuer keeps when it is good."""
    document = _loaded(body)
    if document is None:
        return [fail("what is there is no discovery document", issuer.key("issuer"), "write the issuer's own address")]
    configured, named = issuer.section.issuer, document.get("issuer")
    if named != configured:
        slash = isinstance(named, str) and named.rstrip("/") == configured.rstrip("/")
        return [
            fail(
                f"it calls itself {str(named)[:200]!r}, not {configured!r}" + (": a slash at the end" if slash else ""),
                issuer.key("issuer"),
                f"write {str(named)[:200]}, letter by letter, here and at the API server; or correct `issuer` in Dex",
            )
        ]
    try:
        issuer.metadata = parse_metadata(
            body, issuer=configured, endpoint_hosts=frozenset(issuer.section.endpoint_hosts)
        )
    except InvalidMetadata as error:
        return [refused_document(str(error), issuer)]
    issuer.document = document
    return [*offered(issuer), ok(f"{configured}: {_sign_out(issuer)}"), *unseen(issuer)]


def _loaded(body: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def refused_document(why: str, issuer: Issuer) -> Said:
    """The finding about a document that the gate refuses."""
    if "endpoint_hosts" in why:
        return fail(why, issuer.key("endpoint_hosts"), "add that host, if it is the issuer's")
    return fail(
        why,
        "Dex: its discovery document",
        "the issuer, or a proxy before it, writes wrong addresses: correct them there",
    )


def offered(issuer: Issuer) -> list[Said]:
    """Warnings about what is not offered, or not asked for."""
    said: list[Said] = []
    key, scopes = issuer.key("scopes"), issuer.section.scopes
    if "S256" not in issuer.known.code_challenge_methods:
        said.append(
            warn(
                "it does not list PKCE with S256; the gate uses it all the same", "Dex: its version", "use a newer one"
            )
        )
    listed = issuer.document.get("scopes_supported")
    unknown = [s for s in scopes if isinstance(listed, list) and s not in listed and not s.startswith(AUDIENCE)]
    if unknown:
        said.append(warn(f"it does not list the scopes {', '.join(unknown)}", key, "leave out what it does not know"))
    if "offline_access" not in scopes:
        said.append(warn("without offline_access logins end with their first token", key, "add offline_access"))
    if "groups" not in scopes:
        said.append(warn("without groups the cluster's RBAC sees none", key, "add groups"))
    return said


def unseen(issuer: Issuer) -> list[Said]:
    """What matters to renewals and cannot be seen from here."""
    if "offline_access" not in issuer.section.scopes:
        return []
    return [ok("not to be seen from here: Dex's expiry.refreshTokens.reuseInterval, which should be 30s")]


def _sign_out(issuer: Issuer) -> str:
    metadata = issuer.known
    if metadata.end_session_endpoint is None:
        return "it has no sign-out of its own (Dex up to 2.45 has none), so signing out ends the gate's session only"
    told = "tells" if metadata.backchannel_logout_supported else "does not tell"
    return f"it has a sign-out, and {told} the gate about others (back-channel)"


async def check_keys(scene: Scene, issuer: Issuer) -> list[Said]:
    """The keys can be had, and tokens may be signed with one of them."""
    url = issuer.inside(issuer.known.jwks_uri)
    theirs = "Dex: its keys"
    try:
        seen = await scene.caller.call(url, issuer.way)
    except Unreached as error:
        return [unreached(error, Settings("the issuer", issuer.key("endpoint_hosts"), issuer.key("ca_file")))]
    if seen.status != 200:
        return [fail(f"{url} answers {seen.status}", theirs, "see the issuer's log, and that a proxy passes this path")]
    try:
        keys = parse_keyset(seen.body)
    except InvalidMetadata as error:
        return [fail(f"its keys cannot be used: {error}", theirs, "see the issuer's log; no login passes without keys")]
    return [judge_keys(keys, issuer)]


def judge_keys(keys: KeySet, issuer: Issuer) -> Said:
    """The finding about a key set."""
    usable = [alg for alg in ALGORITHMS if any(key.fits(alg) for key in keys.keys)]
    said = issuer.known.id_token_algs
    usable = [alg for alg in usable if not said or alg in said] or usable
    common = [alg for alg in issuer.section.algorithms if alg in usable]
    if common:
        count = "1 key" if len(keys.keys) == 1 else f"{len(keys.keys)} keys"
        return ok(f"{count}, for {', '.join(common)}")
    if not usable:
        return fail("there is no key of a kind that the gate knows", "Dex: its keys", "let it sign with RS256 or ES256")
    return fail(
        f"it signs with {', '.join(usable)}, and none of these is accepted",
        "provider.algorithms",
        f"add {usable[0]}, and at the API server --oidc-signing-algs={usable[0]}",
    )
