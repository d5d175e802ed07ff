"""
The browser's part of a login: the address it is sent to, and the query it comes back with.

Pure.

- Code flow with PKCE S256, always; there is no argument that weakens it.
- The callback's query is decoded exactly once, and a parameter given twice is refused: two readers of one
  query must not see two different logins.
- All texts in an error answer are the attacker's: people are shown fixed sentences by known code.

Whether ``state`` belongs to this browser is for the caller to decide, before anything else is looked at.

Sources: RFC 6749 §3.1, §4.1.1, §4.1.2, Appendix A; RFC 7636 §4; RFC 9207 §2; OIDC Core §3.1.2; RFC 9700 §2.1.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

from oidcgate.errors import LoginError, StateMismatch
from oidcgate.oidc.metadata import Metadata, with_query
from oidcgate.oidc.strictjson import encode_base64url

MAX_DESCRIPTION = 200  # characters
_MAX_QUERY = 16 * 1024  # bytes
_MAX_PARAMETERS = 32
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 §4.1
_RAW = re.compile(rb"[\x21-\x7e]*")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# What each parameter may look like, decoded (RFC 6749 Appendix A.5, A.7, A.11; RFC 9207 §2).
_SHAPES: Final = {
    "state": re.compile(r"[\x21-\x7e]{1,512}"),
    "code": re.compile(r"[\x20-\x7e]{1,4096}"),
    "iss": re.compile(r"[\x21-\x7e]{1,2048}"),
    "error": re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,64}"),
}
_DESCRIPTION = "error_description"
_SENTENCES: Final = {
    "access_denied": "The identity provider did not let you in, or you declined.",
    "account_selection_required": "The identity provider wants you to choose an account first.",
    "consent_required": "The identity provider needs your consent first.",
    "interaction_required": "The identity provider needs you to sign in with it first.",
    "invalid_request": "The identity provider did not accept the sign-in request.",
    "invalid_scope": "The identity provider does not grant what this site asks for.",
    "login_required": "The identity provider needs you to sign in with it first.",
    "request_not_supported": "The identity provider does not support what this site asks for.",
    "server_error": "The identity provider had a problem of its own.",
    "temporarily_unavailable": "The identity provider is too busy right now.",
    "unauthorized_client": "The identity provider does not let this site sign people in.",
    "unsupported_response_type": "The identity provider does not support what this site asks for.",
}
_UNKNOWN = "The identity provider refused the sign-in."


@dataclass(frozen=True, slots=True)
class CallbackParams:
    """
    A callback's parameters: exactly one of ``code`` and ``error`` is there.

    ``error_description`` is text from outside, at most 200 characters, without control characters.
    """

    state: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    iss: str | None = None
    error: str | None = None
    error_description: str = ""


def authorization_url(
    metadata: Metadata,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Sequence[str],
    state: str,
    nonce: str,
    verifier: str,
    extra: Mapping[str, str] = _NOTHING,
) -> str:
    """
    The address that begins a login (OIDC Core §3.1.2.1).

    Args: ``verifier`` 43 to 128 unreserved characters, fresh for each attempt as ``state`` and ``nonce`` are;
    ``extra`` further parameters such as ``connector_id``.
    Raises: ValueError for a verifier out of shape, an empty state or nonce, or an ``extra`` that names one of
    our own parameters; InvalidMetadata when the endpoint's own query does.
    Not checked: that ``scopes`` has ``openid`` (configuration does) and that the secrets are random.
    """
    if not state or not nonce:
        raise ValueError("state and nonce must not be empty")
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(dict.fromkeys(scopes)),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    if taken := parameters.keys() & extra.keys():
        raise ValueError(f"extra must not name {', '.join(sorted(taken))}")
    return with_query(metadata.authorization_endpoint, parameters | dict(extra))


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 §4.2). Raises: ValueError for a verifier out of shape."""
    if not _VERIFIER.fullmatch(verifier):
        raise ValueError("a verifier has 43 to 128 unreserved characters")
    return encode_base64url(hashlib.sha256(verifier.encode("ascii")).digest())


def parse_callback(raw_query: bytes) -> CallbackParams:
    """
    Read the query of a callback, as received: without ``?``, still percent-encoded.

    Raises: StateMismatch without a usable ``state``; LoginError for a parameter given twice, broken encoding,
    a value out of shape or size, or not exactly one of ``code`` and ``error``. Parameters that are not ours
    are ignored (RFC 6749 §4.1.2), once they decode.
    """
    found = _parameters(raw_query)
    state = found.get("state", "")
    if not _SHAPES["state"].fullmatch(state):
        raise StateMismatch("callback without a usable state")
    for name, shape in _SHAPES.items():
        if name in found and not shape.fullmatch(found[name]):
            raise LoginError(f"callback with a malformed {name}")
    if ("code" in found) == ("error" in found):
        raise LoginError("callback needs exactly one of code and error")
    return CallbackParams(
        state=state,
        code=found.get("code"),
        iss=found.get("iss"),
        error=found.get("error"),
        error_description=found.get(_DESCRIPTION, ""),
    )


def check_issuer(params: CallbackParams, *, issuer: str, metadata: Metadata) -> None:
    """
    Refuse an answer that another issuer gave (RFC 9207 §2.4).

    Raises: LoginError when ``iss`` differs from the issuer of the attempt in a single byte, or is missing
    though the metadata promises it. An issuer that never sends it passes: those are told apart by callback
    path.
    """
    if params.iss is None:
        if metadata.iss_parameter_supported:
            raise LoginError(f"callback without iss, expected {issuer!r}")
    elif params.iss != issuer:
        raise LoginError(f"callback with a foreign iss, expected {issuer!r}, got {params.iss[:200]!r}")


def known_error(error: str) -> str:
    """A fixed sentence for people about an authorization error code; unknown codes share one."""
    return _SENTENCES.get(error, _UNKNOWN)


def _parameters(raw_query: bytes) -> dict[str, str]:
    pieces = raw_query.split(b"&")
    if len(raw_query) > _MAX_QUERY or len(pieces) > _MAX_PARAMETERS:
        raise LoginError("callback with too long a query")
    found: dict[str, str] = {}
    for piece in pieces:
        raw_name, _, raw_value = piece.partition(b"=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name == _DESCRIPTION:
            value = "".join(c if c.isprintable() else " " for c in value)[:MAX_DESCRIPTION]
        elif not value.isprintable():
            raise LoginError("callback with control characters")
        if name in found and (name in _SHAPES or name == _DESCRIPTION):
            raise LoginError(f"callback with {name} given twice")
        found[name] = value
    return found


def _decoded(raw: bytes) -> str:
    if not _RAW.fullmatch(raw) or _BAD_PERCENT.search(raw):
        raise LoginError("callback with a badly encoded query")
    try:
        # The form encoding of HTML, since that is how RFC 6749 Appendix B has the provider write it.
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoginError("callback with a query that is not UTF-8") from error
