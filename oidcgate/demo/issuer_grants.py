"""
Codes and refresh tokens: what is presented at the token endpoint, and what it is worth.

Pure, save for random numbers.
A code lives 30 minutes and once. A refresh token lives for ever, and there is **one per person and client**:
the next login deletes it. Rotation keeps the token before, which within ``reuse_interval`` of the last
rotation brings the same new token again. Nearly every refusal is ``invalid_request``, not ``invalid_grant``
(Dex v2.45.1, server/handlers.go and refreshhandlers.go).
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oidcgate.demo.issuer_authorization import form_unescape, quoted
from oidcgate.demo.issuer_model import Client, Person
from oidcgate.demo.issuer_tokens import Grant, challenge_of, new_id, pack

CODE_LIFE = 30 * 60  # seconds
CLAIMED = "Refresh token is invalid or has already been claimed by another client."


class TokenProblem(Exception):
    """A refusal of the token endpoint: HTTP status, error code, and a description that may be empty."""

    def __init__(self, status: int, error: str, description: str = "") -> None:
        super().__init__(f"{status} {error} {description}")
        self.status = status
        self.body = {"error": error} | ({"error_description": description} if description else {})


def authenticated(authorization: str, form: Mapping[str, str], clients: Mapping[str, Client]) -> Client:
    """The client that proves itself by Basic authentication or, without that header, in the form."""
    client_id, secret = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
    client = clients.get(client_id)
    if client is None or (client.secret or "") != secret:
        raise TokenProblem(401, "invalid_client", "Invalid client credentials.")
    return client


def _basic(authorization: str) -> tuple[str, str] | None:
    """The two halves, form-url-decoded (RFC 6749 §2.3.1); anything malformed counts as no header."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    if scheme.lower() != "basic" or not colon:
        return None
    return _part("client_id", client_id), _part("client_secret", secret)


def _part(name: str, text: str) -> str:
    try:
        return form_unescape(text)
    except ValueError:
        raise TokenProblem(400, "invalid_request", f"{name} improperly encoded") from None


class Codes:
    """Authorization codes that nobody has redeemed yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._codes: dict[str, tuple[float, Grant]] = {}

    def __repr__(self) -> str:
        return f"<Codes {len(self._codes)}>"

    def issue(self, grant: Grant) -> str:
        """A new code for ``grant``."""
        code = new_id()
        self._codes[code] = (self._clock() + CODE_LIFE, grant)
        return code

    def check(self, form: Mapping[str, str], client: Client) -> tuple[str, Grant]:
        """The code in ``form`` and its grant; a code that fails a check stays redeemable, as in Dex."""
        code = form.get("code", "")
        if not code:
            raise TokenProblem(400, "invalid_request", "Required param: code.")
        until, grant = self._codes.get(code) or _no_code()
        if self._clock() > until or grant.client_id != client.id:
            raise TokenProblem(500, "server_error")  # v2.45.1 takes these two for a failing database
        _check_verifier(grant, form.get("code_verifier", ""))
        if grant.redirect_uri != form.get("redirect_uri", ""):
            text = "redirect_uri did not match URI from initial request."
            raise TokenProblem(400, "invalid_request", text)
        return code, grant

    def claim(self, code: str) -> None:
        """Use the code up; of two requests that overlap, the second fails."""
        if self._codes.pop(code, None) is None:
            raise TokenProblem(500, "server_error")


def _no_code() -> tuple[float, Grant]:
    raise TokenProblem(400, "invalid_grant", "Invalid or expired code parameter.")


def _check_verifier(grant: Grant, verifier: str) -> None:
    """RFC 7636 §4.6; a verifier nobody asked for is an error, too."""
    if verifier and not grant.challenge:
        raise TokenProblem(400, "invalid_request", "No PKCE flow started. Cannot check code_verifier.")
    if grant.challenge and not verifier:
        raise TokenProblem(400, "invalid_grant", "Expecting parameter code_verifier in PKCE flow.")
    if verifier and challenge_of(verifier, grant.challenge_method) != grant.challenge:
        raise TokenProblem(400, "invalid_grant", "Invalid code_verifier.")


@dataclass
class RefreshRecord:
    """The one refresh token of a person at a client; ``last_used`` is in seconds since 1970."""

    id: str
    token: str
    grant: Grant
    last_used: float
    obsolete: str = ""
    ended: bool = False  # its session was ended; happens with sessions only


class RefreshTokens:
    """
    The refresh tokens that are alive.

    Args:
        clock: seconds since 1970.
        reuse_interval: seconds after a rotation in which the token before is still answered; Dex: 0.
    """

    def __init__(self, clock: Callable[[], float], reuse_interval: float) -> None:
        self._clock = clock
        self.reuse_interval = reuse_interval
        self._records: dict[str, RefreshRecord] = {}
        self._newest: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return f"<RefreshTokens {len(self._records)}>"

    def issue(self, grant: Grant) -> str:
        """A new token, and the death of the one this person had at this client."""
        record = RefreshRecord(new_id(), new_id(), grant, self._clock())
        key = (grant.person.user_id, grant.client_id)
        self._records.pop(self._newest.get(key, ""), None)
        self._newest[key] = pack(record.id, "")
        self._records[self._newest[key]] = record
        return pack(record.id, record.token)

    def revoke(self, user_id: str) -> None:
        """Forget all tokens of a person, as an administrator can through Dex's API."""
        kept = {key: record for key, record in self._records.items() if record.grant.person.user_id != user_id}
        self._records = kept

    def end_session(self, sid: str) -> None:
        """Refuse the tokens of a session from now on with ``invalid_grant``."""
        for record in self._records.values():
            record.ended = record.ended or record.grant.sid == sid

    def check(self, form: Mapping[str, str], client: Client) -> tuple[RefreshRecord, str, tuple[str, ...]]:
        """The record, the token presented and the scopes wanted; nothing has changed yet."""
        presented = form.get("refresh_token", "")
        if not presented:
            raise TokenProblem(400, "invalid_request", "No refresh token is found in request.")
        record = self._find(presented)
        if record is None:
            raise TokenProblem(400, "invalid_request", CLAIMED)
        if record.grant.client_id != client.id or record.ended:
            raise TokenProblem(400, "invalid_grant", CLAIMED)
        if not self._current(record, presented):
            raise TokenProblem(400, "invalid_request", CLAIMED)
        return record, presented, _narrowed(record.grant.scopes, form.get("scope", ""))

    def claim(
        self, record: RefreshRecord, presented: str, lookup: Callable[[Person], Person | None]
    ) -> tuple[str, Grant]:
        """
        Rotate the token; return the next one and the grant with fresh personal data.

        Args:
            lookup: finds somebody's newest data, None if they are gone; not asked within the interval.
        """
        if self._find(presented) is not record or not self._current(record, presented):
            raise TokenProblem(500, "invalid_request")  # somebody else was faster, in the same moment
        if not self._reusable(record):
            person = lookup(record.grant.person)
            if person is None:
                raise TokenProblem(500, "invalid_request")
            record.grant = replace(record.grant, person=person)
            record.obsolete, record.token = record.token, new_id()
            record.last_used = self._clock()
        return pack(record.id, record.token), record.grant

    def _find(self, presented: str) -> RefreshRecord | None:
        """By the id, which a rotation keeps: 27 bytes of protobuf, so exactly 36 characters of base64."""
        return self._records.get(presented[:36])

    def _current(self, record: RefreshRecord, presented: str) -> bool:
        if presented == pack(record.id, record.token):
            return True
        return self._reusable(record) and presented == pack(record.id, record.obsolete)

    def _reusable(self, record: RefreshRecord) -> bool:
        return self.reuse_interval > 0 and self._clock() <= record.last_used + self.reuse_interval


def _narrowed(granted: tuple[str, ...], wanted: str) -> tuple[str, ...]:
    """``wanted``, or everything; a refresh may ask for less than the login did, never for more."""
    scopes = tuple(wanted.split())
    if denied := [scope for scope in scopes if scope not in granted]:
        text = f"Requested scopes contain unauthorized scope(s): {quoted(denied)}."
        raise TokenProblem(400, "invalid_request", text)
    return scopes or granted
