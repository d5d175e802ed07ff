"""
The discovery document of Dex v2.45.1, member for member.

Pure.
It promises no logout, no revocation, no ``iss`` in the response and no ``prompt``. It does promise token
exchange and introspection, which this issuer leaves out.
"""

from oidcgate.demo.issuer_model import Claims


def metadata(issuer: str, *, sessions: bool = False) -> Claims:
    """OIDC Discovery §3; ``sessions`` adds what Dex's unreleased main adds."""
    document: Claims = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/auth",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "device_authorization_endpoint": f"{issuer}/device/code",
        "introspection_endpoint": f"{issuer}/token/introspect",
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256", "plain"],
        "scopes_supported": ["openid", "email", "groups", "profile", "offline_access"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "claims_supported": [
            "iss",
            "sub",
            "aud",
            "iat",
            "exp",
            "email",
            "email_verified",
            "locale",
            "name",
            "preferred_username",
            "at_hash",
        ],
    }
    return document | (_session_metadata(issuer) if sessions else {})


def _session_metadata(issuer: str) -> Claims:
    return {
        "end_session_endpoint": f"{issuer}/logout",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
    }
