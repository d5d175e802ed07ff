"""Somebody's claims, for tables."""

from dataclasses import replace
from typing import Any

from oidcgate.oidc.claims import Claims

ISSUER = "https://dex.example.com/dex"
ALICE = Claims(
    issuer=ISSUER,
    subject="demo-0001",
    audience=("gate",),
    expires=2000.0,
    issued_at=1000.0,
    email="alice@example.com",
    email_verified=True,
    groups=("platform-admins", "team-shop"),
    name="Alice Arden",
    preferred_username="alice",
)


def claims(**changes: Any) -> Claims:
    """Alice's, but for what is changed."""
    return replace(ALICE, **changes)
