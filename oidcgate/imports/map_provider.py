"""
Issuer, client, scopes, audiences.

Pure.
"""

from typing import get_args

from oidcgate.config.model import Algorithm
from oidcgate.imports.units import url_parts
from oidcgate.imports.work import Work

NONE_YET = "https://dex.example.com"
OPENID = ("oidc", "keycloak-oidc", "entra-id", "azure", "google", "gitlab", "adfs", "cidaas")
CONNECTORS = {
    "github": "github",
    "bitbucket": "bitbucket-cloud",
    "linkedin": "linkedin",
    "nextcloud": "oauth",
    "digitalocean": "oauth",
    "facebook": "oauth",
    "sourcehut": "oauth",
}
WANTED = ("openid", "groups", "offline_access")
# Scopes that an issuer refuses, so that nobody could sign in; by a part of its URL.
REFUSED = {
    "accounts.google.com": ("groups", "offline_access"),
    "gitlab.com": ("groups", "offline_access"),
    "login.microsoftonline.com": ("groups",),
}


def map_provider(work: Work) -> None:
    """The ``provider`` section."""
    issuer = _issuer(work)
    _client(work)
    _scopes(work, issuer)
    _certificates(work)
    _audiences(work)
    _algorithms(work)
    for name in ("code-challenge-method", "force-code-challenge-method"):
        if work.settings.text(name) == "S256":
            work.taken(name, "always so: PKCE with S256")
        else:
            work.safer(name, "PKCE is always on, with S256")


def _issuer(work: Work) -> str:
    kind = work.settings.text("provider", "google")
    given = work.known("oidc-issuer-url")
    issuer = given.text if given is not None else ""
    if "@" in url_parts(issuer).netloc:
        work.differs("oidc-issuer-url", "carries a user or a password, which is not copied; fill in the issuer")
        issuer = ""
    elif kind in OPENID and issuer:
        work.taken("oidc-issuer-url", "provider.issuer, letter by letter as tokens name it")
    elif kind in OPENID:
        issuer = _usual_issuer(work, kind)
    if kind not in OPENID:
        return _without_openid(work, kind)
    work.taken("provider", f"plain OpenID Connect, with the issuer {issuer or 'that you fill in'}")
    if "azure" in kind or "entra" in kind:
        work.taken("azure-tenant", "part of provider.issuer")
    else:
        work.none("azure-tenant", "of Azure only")
    if issuer:
        work.draft.put("provider.issuer", issuer)
    else:
        work.draft.put("provider.issuer", NONE_YET, fill_in="the issuer's URL, exactly as its tokens name it")
    return issuer


def _usual_issuer(work: Work, kind: str) -> str:
    """The issuer of a provider that has one for everybody."""
    tenant = work.settings.text("azure-tenant", "common")
    if kind in ("azure", "entra-id") and tenant not in ("common", "organizations", "consumers"):
        return f"https://login.microsoftonline.com/{tenant}/v2.0"
    return {"google": "https://accounts.google.com", "gitlab": "https://gitlab.com"}.get(kind, "")


def _without_openid(work: Work, kind: str) -> str:
    advice = {
        "keycloak": "use the realm's issuer, https://HOST/realms/NAME",
        "login.gov": "put an OpenID Connect provider in front that proves itself by signed assertions",
    }.get(kind, f"put Dex in front, with its {CONNECTORS.get(kind, 'oidc')} connector")
    work.none("provider", f"{kind} is not plain OpenID Connect; {advice}")
    work.none("oidc-issuer-url", f"has no effect with the provider {kind}")
    work.none("azure-tenant", "of Azure only")
    work.draft.put("provider.issuer", NONE_YET, fill_in=f"the issuer; {advice}")
    return ""


def _client(work: Work) -> None:
    given = work.known("client-id")
    if given is not None:
        work.draft.put("provider.client_id", given.text)
        work.taken("client-id")
    else:
        work.draft.put("provider.client_id", "oidcgate", fill_in="the client's id at the issuer")
    _secret(work)


def _secret(work: Work) -> None:
    secret, file = work.settings.get("client-secret"), work.known("client-secret-file")
    where = "a file with mode 0600, or 0640 for the gate's group: one that everybody can read is refused"
    if file is not None:
        work.draft.put("provider.client_secret_file", file.text, comment=f"must be {where}")
        work.taken("client-secret-file", f"provider.client_secret_file; it must be {where}")
        work.none("client-secret", "provider.client_secret_file is enough; the secret itself is not copied")
    elif secret is not None and secret.variable:
        work.draft.put("provider.client_secret_env", secret.variable)
        work.taken(
            "client-secret",
            "provider.client_secret_env: the same variable; a file would be read again",
        )
    elif secret is not None or work.settings.get("client-secret-file"):
        work.draft.put("provider.client_secret_file", "./client-secret", fill_in=f"put the secret into {where}")
        work.differs("client-secret", f"not copied; put it into provider.client_secret_file, {where}")
    else:
        work.draft.say("provider.client_id", "no secret was given: a public client, protected by PKCE")


def _scopes(work: Work, issuer: str) -> None:
    given = work.known("scope")
    scopes = given.text.split() if given is not None else ["openid", "email", "profile"]
    refused = next((names for part, names in REFUSED.items() if part in issuer), ())
    added = [scope for scope in WANTED if scope not in scopes and scope not in refused]
    work.draft.put("provider.scopes", [*scopes, *added])
    text = f"provider.scopes, and {', '.join(added)} besides" if added else "provider.scopes"
    reasons = {
        "openid": "without it there is no ID token",
        "groups": "RBAC and access.groups need it",
        "offline_access": "tokens are renewed by it",
    }
    why = "; ".join(f"{scope}: {reasons[scope]}" for scope in added)
    if given is not None and not added:
        work.taken("scope", text)
    elif given is not None:
        work.differs("scope", f"{text} ({why})")
    if why:
        work.draft.say("provider.scopes", f"{why}; an issuer that does not know one of them refuses every login")
    if refused:
        work.draft.say("provider.scopes", f"this issuer refuses {' and '.join(refused)}, so they are left out")


def _certificates(work: Work) -> None:
    files = work.settings.values("provider-ca-file")
    if not files:
        work.known("provider-ca-file")
        return
    work.draft.put("provider.ca_file", files[0])
    if len(files) > 1:
        work.draft.say("provider.ca_file", fill_in=f"one bundle with all of {', '.join(files)}")
        work.differs("provider-ca-file", "one file; put all certificates into one bundle")
    else:
        work.taken("provider-ca-file")


def _audiences(work: Work) -> None:
    extra = list(work.settings.values("oidc-extra-audience"))
    if extra:
        work.draft.put("provider.audiences", extra)
        work.taken("oidc-extra-audience", "provider.audiences: a token may carry these besides the client's own id")
    else:
        work.known("oidc-extra-audience")
    if work.settings.is_on("skip-jwt-bearer-tokens"):
        audiences = [*dict.fromkeys([work.draft.get("provider.client_id"), *extra])]
        work.draft.put("sites.0.programs.audiences", audiences)
        work.taken(
            "skip-jwt-bearer-tokens", f"sites[].programs.audiences: tokens of the issuer for {', '.join(audiences)}"
        )
    else:
        work.known("skip-jwt-bearer-tokens")
        work.report_safer("programs that bring a token of their own are let in only by sites[].programs.audiences")


def _algorithms(work: Work) -> None:
    given = work.settings.values("oidc-enabled-signing-alg")
    known = [name for name in given if name in get_args(Algorithm)]
    if known:
        work.draft.put("provider.algorithms", known)
    if known and len(known) == len(given):
        work.taken("oidc-enabled-signing-alg")
    else:
        work.safer("oidc-enabled-signing-alg", f"only {', '.join(get_args(Algorithm))} can be accepted")
