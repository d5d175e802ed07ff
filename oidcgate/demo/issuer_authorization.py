"""
The authorization request, judged as Dex v2.45.1 judges it.

Pure.
Two outcomes never return to the client and are pages in the browser: an unknown client and a foreign
redirect URI. All others travel back as ``error`` (RFC 6749 §4.1.2.1), in the order Dex looks for them.
``prompt``, ``max_age``, ``login_hint`` and ``id_token_hint`` are not looked at, and no ``iss`` is returned.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from oidcgate.demo.issuer_model import Client, Parameters

AUDIENCE = "audience:server:client_id:"
KNOWN_SCOPES = {"openid", "email", "groups", "profile", "offline_access", "federated:id"}


class Refused(Exception):
    """The browser gets an HTML page with ``status`` and ``text``; the client hears nothing."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class SentBack(Exception):
    """The browser is redirected to the client with ``error`` and ``description``."""

    def __init__(self, redirect_uri: str, state: str, error: str, description: str) -> None:
        super().__init__(description)
        self.redirect_uri = redirect_uri
        self.parameters = [("state", state), ("error", error), ("error_description", description)]


@dataclass(frozen=True)
class AuthRequest:
    """A request that may go on to the login form; ``challenge`` is empty without PKCE."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    nonce: str
    challenge: str
    challenge_method: str


def authorization_request(query: Mapping[str, str], clients: Mapping[str, Client]) -> AuthRequest:
    """Check ``query``, whose first value of each name counts; raise `Refused` or `SentBack`."""
    redirect_uri = _redirect_uri(query)
    client = clients.get(query.get("client_id", ""))
    if client is None:
        raise Refused(404, "Invalid client_id.")
    if not client.accepts_redirect(redirect_uri):
        raise Refused(400, "Unregistered redirect_uri.")
    if fault := _fault(query, client.id, clients):
        raise SentBack(redirect_uri, query.get("state", ""), *fault)
    return AuthRequest(
        client_id=client.id,
        redirect_uri=redirect_uri,
        scopes=tuple(query.get("scope", "").split()),
        state=query.get("state", ""),
        nonce=query.get("nonce", ""),
        challenge=query.get("code_challenge", ""),
        challenge_method=query.get("code_challenge_method") or "plain",
    )


def form_unescape(text: str) -> str:
    """Decode form-url-encoding, as strictly as Go: a stray percent sign is a ValueError."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("invalid URL escape")
    return unquote_plus(text)


def callback_query(redirect_uri: str, parameters: Parameters) -> Parameters:
    """The query of the redirect back: the registered one and ours, sorted by name as Go sorts them."""
    kept = parse_qsl(urlsplit(redirect_uri).query, keep_blank_values=True)
    return sorted([*kept, *parameters], key=lambda pair: pair[0])


def with_query(redirect_uri: str, parameters: Parameters) -> str:
    """``redirect_uri`` with its query replaced by ``parameters``."""
    return urlunsplit(urlsplit(redirect_uri)._replace(query=urlencode(parameters)))


def quoted(items: Iterable[str]) -> str:
    """A list of strings as Go's %q prints it."""
    return f"[{' '.join(json.dumps(item) for item in items)}]"


def peer_of(scope: str) -> str | None:
    """The client id in a cross-client scope."""
    return scope.removeprefix(AUDIENCE) if scope.startswith(AUDIENCE) else None


def trusts(clients: Mapping[str, Client], peer: str, client_id: str) -> bool:
    """May ``client_id`` ask for tokens with ``peer`` in their audience?"""
    return peer == client_id or (peer in clients and client_id in clients[peer].trusted_peers)


def _redirect_uri(query: Mapping[str, str]) -> str:
    try:
        return form_unescape(query.get("redirect_uri", ""))  # decoded a second time: a bug of v2.45.1
    except ValueError:
        raise Refused(400, "No redirect_uri provided.") from None


def _fault(query: Mapping[str, str], client_id: str, clients: Mapping[str, Client]) -> tuple[str, str] | None:
    if query.get("request"):
        return "request_not_supported", "Server does not support request parameter."
    method = query.get("code_challenge_method") or "plain"
    if method not in {"S256", "plain"}:
        return "invalid_request", f"Unsupported PKCE challenge method ({json.dumps(method)})."
    return _scope_fault(query.get("scope", "").split(), client_id, clients) or _type_fault(
        query.get("response_type", "").split()
    )


def _scope_fault(scopes: list[str], client_id: str, clients: Mapping[str, Client]) -> tuple[str, str] | None:
    if "openid" not in scopes:
        return "invalid_scope", 'Missing required scope(s) ["openid"].'
    peers = {scope: peer_of(scope) for scope in scopes if scope not in KNOWN_SCOPES}
    if unknown := [scope for scope, peer in peers.items() if peer is None]:
        return "invalid_scope", f"Unrecognized scope(s) {quoted(unknown)}"
    if denied := [scope for scope, peer in peers.items() if peer is not None and not trusts(clients, peer, client_id)]:
        return "invalid_scope", f"Client can't request scope(s) {quoted(denied)}"
    return None


def _type_fault(types: list[str]) -> tuple[str, str] | None:
    for kind in types:
        if kind not in {"code", "id_token", "token"}:
            return "invalid_request", f"Invalid response type {json.dumps(kind)}"
        if kind != "code":
            return "unsupported_response_type", f"Unsupported response type {json.dumps(kind)}"
    return None if types else ("invalid_request", "No response_type provided")
