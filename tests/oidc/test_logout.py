"""RP-initiated logout: where the browser is sent."""

from typing import Any

import pytest

from oidcgate.errors import InvalidMetadata
from oidcgate.oidc.logout import end_session_url
from oidcgate.oidc.metadata import Metadata

ISSUER = "https://dex.example.com/dex"
BACK = "https://dashboard.example.com/oauth2/signed_out"


def url(endpoint: str | None = f"{ISSUER}/logout", **changes: Any) -> str | None:
    """The end-session URL with changed arguments."""
    arguments = {"id_token_hint": "a.b.c", "client_id": "gate", "post_logout_redirect_uri": BACK, "state": "s"}
    metadata = Metadata(ISSUER, f"{ISSUER}/auth", f"{ISSUER}/token", f"{ISSUER}/keys", end_session_endpoint=endpoint)
    return end_session_url(metadata, **(arguments | changes))


RETURN = "post_logout_redirect_uri=https%3A%2F%2Fdashboard.example.com%2Foauth2%2Fsigned_out&state=s"


@pytest.mark.parametrize(
    ("changes", "query"),
    [
        pytest.param({}, f"client_id=gate&id_token_hint=a.b.c&{RETURN}", id="everything"),
        pytest.param({"id_token_hint": None}, f"client_id=gate&{RETURN}", id="no-hint"),
        pytest.param({"id_token_hint": "x" * 6145}, f"client_id=gate&{RETURN}", id="hint-too-long-for-a-url"),
        pytest.param({"post_logout_redirect_uri": None}, "client_id=gate&id_token_hint=a.b.c", id="nowhere-to-return"),
        pytest.param({"state": None}, f"client_id=gate&id_token_hint=a.b.c&{RETURN[:-8]}", id="no-state"),
    ],
)
def test_url(changes: dict[str, Any], query: str) -> None:
    """Each parameter goes along when it means something."""
    assert url(**changes) == f"{ISSUER}/logout?{query}"


def test_provider_without_logout() -> None:
    """Released Dex has no such endpoint: the caller forgets locally."""
    assert url(None) is None


def test_endpoint_with_a_query() -> None:
    """An own query is kept, unless it has one of our parameters."""
    assert (url(f"{ISSUER}/logout?p=1") or "").startswith(f"{ISSUER}/logout?p=1&client_id=gate&")
    with pytest.raises(InvalidMetadata):
        url(f"{ISSUER}/logout?state=x")
