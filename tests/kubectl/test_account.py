"""Whose tokens are meant."""

import pytest

from oidcgate.kubectl.account import Account, audiences_in, in_order

ISSUER = "https://dex.example.com"


@pytest.mark.parametrize(
    ("audience", "scope", "exactly"),
    [
        ("", None, {"kubectl"}),
        ("kubectl", None, {"kubectl"}),
        ("one", "audience:server:client_id:one", {"one", "kubectl"}),
    ],
)
def test_audience(audience: str, scope: str | None, exactly: set[str]) -> None:
    """One of another client is asked for by a scope, and must be the whole audience beside ours."""
    account = Account(ISSUER, "kubectl", audience)
    assert account.wanted - set(account.scopes) == ({scope} if scope else set())
    assert account.exactly == exactly
    assert audiences_in(account.wanted) == exactly - {"kubectl"}


def test_name() -> None:
    """All clusters of one client share what is kept, and no two clients do; it is fit for a file's name."""
    one, two = Account(ISSUER, "kubectl", "one"), Account(ISSUER, "kubectl", "two")
    assert one.name == two.name
    assert one.slot != two.slot
    others = {Account(ISSUER + "/", "kubectl").name, Account(ISSUER, "other").name, one.name}
    assert len(others) == 3
    assert all(name.isalnum() for name in others)


def test_scopes_are_sent_in_order() -> None:
    """``openid`` is always there, and first."""
    assert in_order(Account(ISSUER, "kubectl", scopes=("groups", "email")).wanted) == ("openid", "email", "groups")
