"""
Why an API server answers 401 to a token, and the exact setting to change.

Pure. It says no more than "Unauthorized". What can be told apart all the same:
- its clock, by the Date of its answer;
- the rest by a TokenReview, where the gate has a credential that may ask for one; its ``error`` names the check;
- else there are candidates, in the order in which they are met in life, each with what the token really says.

Sources: Kubernetes, Authenticating (OpenID Connect tokens; AuthenticationConfiguration, apiserver.config.k8s.io/v1).
"""

import re
from dataclasses import replace
from typing import Any, Final

import yaml

from oidcgate.kube.diagnosis import Finding, Part
from oidcgate.oidc.claims import Claims

MOST_SKEW: Final = 5.0  # seconds between two clocks that may be the network's
EMAIL_SUGGESTED: Final = "email"


def of_refusal(claims: Claims, *, skew: float | None, said: str | None) -> tuple[Finding, ...]:
    """
    What is wrong with a token that got 401.

    Args:
        skew: seconds that the API server's clock is ahead of the gate's; None = not known.
        said: the error of a TokenReview; None = nobody could ask.
    """
    late = _clock(skew)
    if said is not None:
        return (_named(claims, said, late),)
    if late is not None:
        return (late,)
    return tuple(replace(finding, certain=False) for finding in _candidates(claims))


def _candidates(claims: Claims) -> list[Finding]:
    unverified = [_username(claims)] if not claims.email_verified else []
    return [_audience(claims), _issuer(claims), *unverified, _issuer_ca(claims)]


# The words of Kubernetes' authenticator and of go-oidc, which it uses.
_WORDS: Final = (
    (re.compile(r"expected audience"), Part.AUDIENCE),
    (re.compile(r"token is expired|before the nbf"), Part.CLOCK),
    (re.compile(r"x509|certificate|authenticator not initialized|fetching keys|get keys failed"), Part.CA),
    (re.compile(r"verify signature|signing alg|unsupported algorithm"), Part.KEYS),
    (re.compile(r"email not verified|parse username|username claim|claim not present"), Part.USERNAME),
    (re.compile(r"different provider"), Part.ISSUER),
)


def _named(claims: Claims, said: str, late: Finding | None) -> Finding:
    part = next((part for words, part in _WORDS if words.search(said)), None)
    match part:
        case Part.AUDIENCE:
            expected = re.search(r"expected audience (?:in )?(.*?) got", said)
            return _audience(claims, expected[1].replace('\\"', '"') if expected else "")
        case Part.CLOCK:
            return late or Finding(
                Part.CLOCK,
                f"The API server says that the token is not valid at this time ({_last(said)}). The clocks of the API "
                "server, the gate and the issuer must agree.",
                "run NTP (chrony, systemd-timesyncd) on the control-plane nodes and on the gate's",
                where="the machines",
            )
        case Part.CA:
            return _issuer_ca(claims, _last(said))
        case Part.KEYS:
            return _keys(claims, _last(said))
        case Part.USERNAME:
            return _username(claims, _last(said))
        case _:  # no authenticator has this issuer, so that none has anything to say
            return _issuer(claims)


def _last(said: str) -> str:
    """What is left of an error without the list around it and the layers that handed it on."""
    return said.strip("[]").rpartition("invalid bearer token, ")[2].removeprefix("oidc: ")


def _clock(skew: float | None) -> Finding | None:
    if skew is None or abs(skew) <= MOST_SKEW:
        return None
    return Finding(
        Part.CLOCK,
        f"The API server's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the gate's, so that it "
        "takes good tokens for expired, or for not valid yet. It gives no leeway.",
        "run NTP (chrony, systemd-timesyncd) on the control-plane nodes and on the gate's",
        where="the machines",
    )


def _issuer(claims: Claims) -> Finding:
    return Finding(
        Part.ISSUER,
        f"The token is from the issuer {claims.issuer}. The API server must know exactly this address: scheme, port, "
        "path and a slash at the end included.",
        authentication(claims),
        flags=f"--oidc-issuer-url={claims.issuer}",
    )


def _audience(claims: Claims, expected: str = "") -> Finding:
    ours = ", ".join(claims.audience)
    known = f" It accepts {expected}." if expected else ""
    return Finding(
        Part.AUDIENCE,
        f"The token is for the audience {ours}. The API server must accept that one.{known}",
        authentication(claims),
        flags=f"--oidc-client-id={claims.audience[0] if claims.audience else ''}",
    )


def _username(claims: Claims, said: str = "") -> Finding:
    reason = f" ({said})" if said else ""
    mail = "is not verified" if claims.email else "is missing"
    return Finding(
        Part.USERNAME,
        f"The API server cannot make a user name of this token{reason}: its email {mail}. Let the issuer verify it, or "
        "let the API server use another claim.",
        authentication(claims, username="sub"),
        flags="--oidc-username-claim=sub",
    )


def _issuer_ca(claims: Claims, said: str = "") -> Finding:
    reason = f" ({said})" if said else ""
    return Finding(
        Part.CA,
        f"The API server must reach {claims.issuer}/.well-known/openid-configuration itself, and trust its "
        f"certificate{reason}.",
        authentication(claims, ca=True),
        flags="--oidc-ca-file=/etc/kubernetes/pki/issuer-ca.crt",
    )


def _keys(claims: Claims, said: str) -> Finding:
    return Finding(
        Part.KEYS,
        f"The token's signature does not fit the keys that the API server has of {claims.issuer} ({said}). Does that "
        "address lead it to the same issuer, and does it accept the algorithm?",
        authentication(claims),
        flags=f"--oidc-issuer-url={claims.issuer} --oidc-signing-algs=RS256,ES256",
    )


def authentication(claims: Claims, *, username: str = EMAIL_SUGGESTED, ca: bool = False) -> str:
    """The API server's configuration that takes a token: its issuer and audience, exactly."""
    issuer: dict[str, Any] = {"url": claims.issuer, "audiences": list(claims.audience)}
    if len(claims.audience) > 1:
        issuer["audienceMatchPolicy"] = "MatchAny"
    if ca:
        issuer["certificateAuthority"] = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"
    mappings = {"username": {"claim": username, "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": mappings}],
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=200)
    return text
