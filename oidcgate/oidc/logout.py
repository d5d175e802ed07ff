"""
The address that ends the provider's own session too.

Pure.

- It goes to the pinned metadata's endpoint only: the ID token in it is shown to nobody else.
- Nothing depends on the browser coming back: our session is gone before this address is used.

Sources: OIDC RP-Initiated Logout §2, §3.
"""

from oidcgate.oidc.metadata import Metadata, with_query

# A request line over 8 KiB is refused by common servers; without a hint the provider asks the person instead.
MAX_HINT = 6 * 1024


def end_session_url(
    metadata: Metadata,
    *,
    id_token_hint: str | None,
    client_id: str,
    post_logout_redirect_uri: str | None,
    state: str | None,
) -> str | None:
    """
    Where to send the browser to sign out at the provider, or None when the provider has no such place.

    Args: ``id_token_hint`` is left out when empty or above 6 KiB; ``state`` goes along with a
    ``post_logout_redirect_uri`` only, since it has no meaning otherwise.
    Raises: InvalidMetadata when the endpoint's own query has one of these parameters.
    Not checked: whether the redirect URI is registered with the provider.
    """
    if metadata.end_session_endpoint is None:
        return None
    parameters = {"client_id": client_id}
    if id_token_hint and len(id_token_hint) <= MAX_HINT:
        parameters["id_token_hint"] = id_token_hint
    if post_logout_redirect_uri:
        parameters["post_logout_redirect_uri"] = post_logout_redirect_uri
        if state:
            parameters["state"] = state
    return with_query(metadata.end_session_endpoint, parameters)
