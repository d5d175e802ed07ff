"""
The token endpoint's dialogue: what is sent to it, and what its answers mean.

Pure.

- Secrets travel in the body or in Authorization, never in a URL; no repr shows them.
- An answer is used whole or not at all: 200, a JSON object, no member twice, a bearer.
- A refusal is an error with the provider's code, cleaned; whether it is final is for the status to say.

Sources: RFC 6749 §2.3.1, §4.1.3, §5, §6; RFC 7009 §2.1; RFC 7636 §4.5; OIDC Core §3.1.3, §12.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlencode

from oidcgate.errors import InvalidMetadata, ProviderError, TokenError
from oidcgate.oidc.strictjson import loads_object

AuthMethod = Literal["client_secret_basic", "client_secret_post", "none"]

MAX_REPLY = 256 * 1024  # bytes
_MAX_LIFE = 10 * 366 * 86400  # seconds; beyond this a number is a mistake
_ERROR = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,64}")  # RFC 6749 §5.2
_TOKEN = re.compile(r"[\x20-\x7e]+")  # RFC 6749 Appendix A.12, A.17
_JSON_TYPE = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.ASCII | re.IGNORECASE)
INVALID_REPLY = "invalid_reply"


@dataclass(frozen=True, slots=True)
class TokenSet:
    """
    One token reply. Nothing in it is verified yet.

    ``id_token`` is empty when a reply that need not have one has none; ``expires_in`` is the access token's
    life in seconds. The repr shows no token.
    """

    id_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Headers and body of one POST; the repr shows neither."""

    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def choose_auth_method(supported: Sequence[str], *, confidential: bool) -> AuthMethod:
    """
    How the client proves itself: by Basic where the provider takes it or does not say (OIDC Discovery §3),
    else in the body; without a secret not at all.

    Raises: InvalidMetadata when the provider takes neither from a client with a secret.
    """
    if not confidential:
        return "none"
    if not supported or "client_secret_basic" in supported:
        return "client_secret_basic"
    if "client_secret_post" in supported:
        return "client_secret_post"
    raise InvalidMetadata(f"no client authentication in common, got {', '.join(supported)[:200]!r}")


def code_request(
    *,
    client_id: str,
    client_secret: str | None,
    auth_method: AuthMethod,
    code: str,
    redirect_uri: str,
    verifier: str,
) -> TokenRequest:
    """Redeem a code (RFC 6749 §4.1.3, RFC 7636 §4.5). Raises: ValueError when the method needs a secret."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _request(form, client_id, client_secret, auth_method)


def refresh_request(
    *,
    client_id: str,
    client_secret: str | None,
    auth_method: AuthMethod,
    refresh_token: str,
    scopes: Sequence[str] | None,
) -> TokenRequest:
    """
    Renew (RFC 6749 §6); ``scopes`` narrows, None asks for what was granted. Raises: ValueError as above.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if scopes is not None:
        form["scope"] = " ".join(dict.fromkeys(scopes))
    return _request(form, client_id, client_secret, auth_method)


def revocation_request(
    *,
    client_id: str,
    client_secret: str | None,
    auth_method: AuthMethod,
    refresh_token: str,
) -> TokenRequest:
    """Give a refresh token back (RFC 7009 §2.1). Raises: ValueError as above."""
    form = {"token": refresh_token, "token_type_hint": "refresh_token"}
    return _request(form, client_id, client_secret, auth_method)


def parse_token_reply(status: int, content_type: str, body: bytes, *, need_id_token: bool) -> TokenSet:
    """
    Read the token endpoint's answer.

    Args: ``content_type`` the header's value, empty if none; ``body`` at most 256 KiB;
    ``need_id_token`` False lets an answer to a refresh go without one (OIDC Core §12.2).
    Raises: TokenError for any status but 200, with the provider's code, or ``invalid_reply`` when it has none
    that is fit to show; ProviderError for a 200 that is not a proper token reply.
    Not checked: the tokens themselves, and which scopes were granted.
    """
    if status != 200:
        raise TokenError(_error_code(body), status_seen=status)
    if not _JSON_TYPE.fullmatch(content_type):
        raise ProviderError(f"token reply: expected application/json, got {content_type[:80]!r}")
    try:
        reply = loads_object(body, max_bytes=MAX_REPLY)
    except ValueError as error:
        raise ProviderError(f"token reply: {error}") from error
    kind = reply.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749 §5.1: "case insensitive"
        raise ProviderError("token reply: expected token_type Bearer")
    id_token = _token(reply, "id_token")
    if id_token is None and need_id_token:
        raise ProviderError("token reply: expected an id_token, got none")
    return TokenSet(
        id_token=id_token or "",
        access_token=_token(reply, "access_token"),
        refresh_token=_token(reply, "refresh_token"),
        expires_in=_lifetime(reply.get("expires_in")),
    )


def _request(
    form: Mapping[str, str],
    client_id: str,
    client_secret: str | None,
    auth_method: AuthMethod,
) -> TokenRequest:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    fields = dict(form)
    if auth_method == "none":
        fields["client_id"] = client_id
    elif not client_secret:
        raise ValueError(f"{auth_method} needs a client secret")
    elif auth_method == "client_secret_basic":
        # RFC 6749 §2.3.1: both parts form-encoded first, or a colon or percent sign in them changes its
        # meaning.
        pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")
    else:
        fields |= {"client_id": client_id, "client_secret": client_secret}
    return TokenRequest(headers, urlencode(fields).encode("ascii"))


def _error_code(body: bytes) -> str:
    try:
        error = loads_object(body, max_bytes=MAX_REPLY).get("error")
    except ValueError:
        return INVALID_REPLY
    return error if isinstance(error, str) and _ERROR.fullmatch(error) else INVALID_REPLY


def _token(reply: Mapping[str, object], name: str) -> str | None:
    value = reply.get(name)
    if value is None or value == "":  # providers written in Go send "" for none
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ProviderError(f"token reply: expected {name} to be printable ASCII")
    return value


def _lifetime(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_LIFE:
        raise ProviderError("token reply: expected expires_in to be a number of seconds up to ten years")
    return int(value)
