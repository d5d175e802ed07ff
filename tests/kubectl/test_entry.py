"""What is kept of a login."""

import json
from typing import Any

import pytest

from oidcgate.kubectl.entry import Entry, Token
from oidcgate.oidc.claims import Claims

CLAIMS = Claims("https://dex.example.com", "sub", ("kubectl",), 2000.0, 1000.0, groups=("a", "b"))
ENTRY = Entry(CLAIMS, frozenset({"openid", "groups"}), {"openid": Token("a.b.c", 1000.0, 2000.0)}, "refresh", 5.0)


def test_there_and_back() -> None:
    """What was written is read."""
    assert Entry.from_json(ENTRY.to_json()) == ENTRY
    bare = Entry(CLAIMS, frozenset({"openid"}))
    assert Entry.from_json(bare.to_json()) == bare


def test_no_repr_shows_a_token() -> None:
    """Neither the ID token nor the refresh token."""
    assert "a.b.c" not in repr(ENTRY)
    assert "refresh'" not in repr(ENTRY)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": None},
        {"stored": "soon"},
        {"scopes": None},
        {"scopes": [1]},
        {"claims": {}},
        {"claims": []},
        {"tokens": []},
        {"tokens": {"openid": {}}},
        {"tokens": {"openid": {"id_token": 1, "issued": 1, "expires": 2}}},
        {"tokens": {"openid": {"id_token": "x", "issued": "x", "expires": 2}}},
        {"refresh_token": 7},
    ],
)
def test_another_shape(changes: dict[str, Any]) -> None:
    """Is no entry."""
    assert Entry.from_json(json.dumps(json.loads(ENTRY.to_json()) | changes)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", ENTRY.to_json()[:-9], '{"version": 1}', "\ud800"])
def test_broken(text: str) -> None:
    """Neither is what is cut, or never was one."""
    assert Entry.from_json(text) is None
