"""Policies of pages: just the badge is let in, or the page is left alone."""

import pytest

from oidcgate.proxy.badge_csp import Wanted, allowing

S, A = "https://ui.example.com/oauth2/badge.js", "https://ui.example.com/oauth2/badge"
WANTED = Wanted(S, A, "https://ui.example.com", "fresh")


def changed(*policies: str) -> list[str] | None:
    """What becomes of policies."""
    allowed = allowing([policy.encode("latin-1") for policy in policies], WANTED)
    return None if allowed is None else [value.decode() for value in allowed.values]


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "frame-ancestors 'self'",
        "default-src 'self'",
        "Default-Src 'SELF' 'unsafe-inline'; img-src data:",
        "script-src 'self'; connect-src 'self'; style-src 'none'",
        "script-src *; connect-src *",
        "default-src https:",
        "default-src https://ui.example.com",
        f"script-src {S}; connect-src {A}",
        "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'",
        "script-src-elem 'self'; script-src 'none'",
        "sandbox allow-scripts allow-same-origin",
        "img-src 'none';; ",
    ],
)
def test_policies_that_let_it_in_stay_as_they_are(policy: str) -> None:
    """Byte for byte."""
    assert changed(policy) == [policy]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("script-src 'none'", f"script-src {S}"),
        ("script-src", f"script-src {S}"),
        ("script-src 'nonce-a'", f"script-src 'nonce-a' {S}"),
        ("script-src 'sha256-a' 'unsafe-inline'; img-src *", f"script-src 'sha256-a' 'unsafe-inline' {S}; img-src *"),
        ("img-src *; script-src https://cdn.example", f"img-src *; script-src https://cdn.example {S}"),
        ("script-src http:", f"script-src http: {S}"),
        ("script-src https://other.example.com", f"script-src https://other.example.com {S}"),
        ("script-src-elem 'none'; script-src 'self'", f"script-src-elem {S}; script-src 'self'"),
        ("default-src 'none'", f"default-src 'none'; script-src {S}; connect-src {A}"),
        (
            "default-src cdn.example; ",
            f"default-src cdn.example; script-src cdn.example {S}; connect-src cdn.example {A}",
        ),
        ("default-src 'none'; script-src 'self'", f"default-src 'none'; script-src 'self'; connect-src {A}"),
        ("connect-src api.example", f"connect-src api.example {A}"),
        ("script-src 'none'; script-src 'self'", f"script-src {S}; script-src 'self'"),
        ("script-src 'self', script-src 'none'", f"script-src 'self',script-src {S}".replace(",", ", ")),
    ],
)
def test_what_is_missing_is_added(policy: str, wanted: str) -> None:
    """The two addresses, to the directive that decides; the default's other meanings stay."""
    assert changed(policy) == [wanted]


def test_every_policy_is_met() -> None:
    """Several headers count together, so each lets it in."""
    assert changed("default-src 'self'", "script-src 'none'") == ["default-src 'self'", f"script-src {S}"]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("script-src 'strict-dynamic'", "script-src 'strict-dynamic' 'nonce-fresh'"),
        (
            "script-src 'nonce-a' 'Strict-Dynamic' 'self' https:",
            "script-src 'nonce-a' 'Strict-Dynamic' 'self' https: 'nonce-fresh'",
        ),
        (
            "default-src 'strict-dynamic' 'sha256-a'; connect-src 'self'",
            "default-src 'strict-dynamic' 'sha256-a'; connect-src 'self'; "
            "script-src 'strict-dynamic' 'sha256-a' 'nonce-fresh'",
        ),
    ],
)
def test_where_only_nonces_count(policy: str, wanted: str) -> None:
    """A fresh one of our own: no other script of the page gets in by it, and none is kept out."""
    allowed = allowing([policy.encode()], WANTED)
    assert allowed is not None
    assert (allowed.values, allowed.uses_nonce) == ([wanted.encode()], True)


def test_no_nonce_elsewhere() -> None:
    """A nonce would switch off what the page's own inline scripts live by."""
    allowed = allowing([b"script-src 'unsafe-inline'"], WANTED)
    assert allowed is not None
    assert not allowed.uses_nonce
    assert b"nonce" not in allowed.values[0]


@pytest.mark.parametrize(
    "policy", ["sandbox", "sandbox allow-scripts", "default-src 'self', sandbox allow-same-origin", "img-src \xe9"]
)
def test_what_cannot_be_met_is_left_alone(policy: str) -> None:
    """Where no script runs, or not as the site's, and where the policy cannot be read."""
    assert changed(policy) is None
