"""Real keys, made once, and the payload of a good token."""

from typing import Any

import pytest

from tests.oidc.smith import CLIENT, ISSUER, NOW, Smith


@pytest.fixture(scope="session")
def smith() -> Smith:
    """Keys are dear to make; nothing changes them."""
    return Smith()


@pytest.fixture
def claims() -> dict[str, Any]:
    """The payload of a good ID token, as Dex makes them."""
    return {
        "iss": ISSUER,
        "sub": "CgcyMzQyNzQ5EgZnaXRodWI",
        "aud": CLIENT,
        "exp": NOW + 3600,
        "iat": NOW - 5,
        "nonce": "n-0S6_WzA2Mj",
        "email": "jane@Example.COM",
        "email_verified": True,
        "groups": ["team-a", "team-b"],
        "name": "Jane Doe",
        "preferred_username": "jane",
    }
