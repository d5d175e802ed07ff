"""Why a token is not taken: by what the API server lets slip, else what to look at first."""

import pytest
import yaml

from oidcgate.kube.diagnosis import Part
from oidcgate.kube.refusal import MOST_SKEW, authentication, of_refusal
from tests.kube.support import ISSUER, claims

LIST = "[invalid bearer token, oidc: verify token: {}]"

SAID = [
    # what a TokenReview of a real API server (1.34) says, the part, and words of the sentence
    ("invalid bearer token", Part.ISSUER, f"exactly this address: {''}"),
    ("", Part.ISSUER, ISSUER),
    (LIST.format('oidc: expected audience "gate" got ["other"]'), Part.AUDIENCE, 'It accepts "gate".'),
    (LIST.format('oidc: expected audience in ["a" "b"] got ["other"]'), Part.AUDIENCE, 'It accepts ["a" "b"].'),
    (LIST.format("oidc: token is expired (Token Expiry: 2026-11-24)"), Part.CLOCK, "Token Expiry: 2026-11-24"),
    (LIST.format("oidc: current time A before the nbf (not before) time: B"), Part.CLOCK, "before the nbf"),
    (LIST.format("failed to verify signature: failed to verify id token signature"), Part.KEYS, "signature"),
    (LIST.format("failed to verify signature: fetching keys oidc: get keys failed: x509"), Part.CA, "x509"),
    ("[invalid bearer token, oidc: authenticator not initialized]", Part.CA, "not initialized"),
    ("[invalid bearer token, oidc: email not verified]", Part.USERNAME, "email not verified"),
    ('[invalid bearer token, oidc: parse username claims "email": claim not present]', Part.USERNAME, "not present"),
]


@pytest.mark.parametrize(("said", "part", "words"), SAID)
def test_a_token_review_names_the_check(said: str, part: Part, words: str) -> None:
    """One finding, and no doubt about it."""
    (finding,) = of_refusal(claims(), skew=0.0, said=said)
    assert finding.part is part
    assert finding.certain
    assert words.strip() in finding.sentence
    assert finding.setting


@pytest.mark.parametrize(("skew", "words"), [(600.0, "600 s ahead of"), (-90.0, "90 s behind")])
def test_the_clock(skew: float, words: str) -> None:
    """The answer's Date is enough to know; a TokenReview that blames the time is explained by it."""
    for said in (None, LIST.format("oidc: token is expired (Token Expiry: …)")):
        (finding,) = of_refusal(claims(), skew=skew, said=said)
        assert finding.part is Part.CLOCK
        assert words in finding.sentence
        assert "NTP" in finding.setting


def test_a_wrong_clock_is_not_blamed_for_all() -> None:
    """Where the API server names another check, that one counts."""
    (finding,) = of_refusal(claims(), skew=600.0, said=LIST.format('oidc: expected audience "a" got ["b"]'))
    assert finding.part is Part.AUDIENCE


@pytest.mark.parametrize("skew", [None, 0.0, MOST_SKEW, -MOST_SKEW])
def test_candidates(skew: float | None) -> None:
    """Without a word from the API server: what the token says of each, to be compared; none is certain."""
    found = of_refusal(claims(), skew=skew, said=None)
    assert [finding.part for finding in found] == [Part.AUDIENCE, Part.ISSUER, Part.CA]
    assert not any(finding.certain for finding in found)
    found = of_refusal(claims(email_verified=False), skew=skew, said=None)
    assert [finding.part for finding in found] == [Part.AUDIENCE, Part.ISSUER, Part.USERNAME, Part.CA]


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ("invalid bearer token", f"--oidc-issuer-url={ISSUER}"),
        (LIST.format("oidc: expected audience"), "--oidc-client-id=gate"),
        (LIST.format("x509"), "--oidc-ca-file="),
        (LIST.format("email not verified"), "--oidc-username-claim=sub"),
        (LIST.format("verify signature"), "--oidc-signing-algs="),
    ],
)
def test_flags(said: str, flag: str) -> None:
    """The same for those who run the API server by flags."""
    (finding,) = of_refusal(claims(), skew=None, said=said)
    assert flag in finding.flags


def test_without_an_email() -> None:
    """The sentence says which of the two is wrong with it."""
    (finding,) = of_refusal(claims(email=None, email_verified=False), skew=None, said="x email not verified")
    assert "its email is missing" in finding.sentence


def test_the_configuration_that_takes_the_token() -> None:
    """It is the API server's own format, with what the token says."""
    read = yaml.safe_load(authentication(claims()))
    assert read["kind"] == "AuthenticationConfiguration"
    (entry,) = read["jwt"]
    assert entry["issuer"] == {"url": ISSUER, "audiences": ["gate"]}
    assert entry["claimMappings"]["username"] == {"claim": "email", "prefix": ""}
    (entry,) = yaml.safe_load(authentication(claims(audience=("a", "b")), username="sub", ca=True))["jwt"]
    assert entry["issuer"]["audiences"] == ["a", "b"]
    assert entry["issuer"]["audienceMatchPolicy"] == "MatchAny"
    assert entry["issuer"]["certificateAuthority"].startswith("-----BEGIN")
    assert entry["claimMappings"]["username"]["claim"] == "sub"
