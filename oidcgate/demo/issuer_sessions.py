"""
Sessions at the demo issuer, which Dex v2.45.1 does not have and its unreleased main does.

Pure, save for random numbers.
One session per browser, found by a cookie. Only a client that the session has already signed in is spared
the form. The end of a session ends its refresh tokens and is told to the clients that asked to hear of it
(OIDC Back-Channel Logout §2.4: an event, a ``sid``, and never a nonce).
"""

import secrets
from dataclasses import dataclass, field

from oidcgate.demo.issuer_model import Claims, Person
from oidcgate.demo.issuer_tokens import new_id, subject

COOKIE = "demo-issuer"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
LOGOUT_TOKEN_LIFE = 120  # seconds


@dataclass
class Session:
    """
    One browser's sign-in.

    ``auth_time`` is when the password was last typed, in seconds since 1970; ``clients`` are in the order of
    their sign-in.
    """

    handle: str
    sid: str
    person: Person
    auth_time: int = 0
    clients: list[str] = field(default_factory=list)

    def join(self, client_id: str) -> None:
        """Remember that this client holds tokens of the session."""
        if client_id not in self.clients:
            self.clients.append(client_id)


class Sessions:
    """The sessions that are alive, by the handle in the cookie."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<Sessions {len(self._sessions)}>"

    def start(self, person: Person) -> Session:
        """A new session; whoever starts it says when."""
        session = Session(secrets.token_urlsafe(24), new_id(), person)
        self._sessions[session.handle] = session
        return session

    def find(self, handle: str | None) -> Session | None:
        """The session of a cookie, if it is alive."""
        return self._sessions.get(handle or "")

    def of(self, user_id: str) -> list[Session]:
        """All sessions of a person, the oldest first."""
        return [session for session in self._sessions.values() if session.person.user_id == user_id]

    def end(self, session: Session) -> None:
        """Forget the session."""
        self._sessions.pop(session.handle, None)


def logout_claims(session: Session, client_id: str, *, issuer: str, now: int) -> Claims:
    """The claims of the logout token for one client; ``now`` in seconds since 1970."""
    return {
        "iss": issuer,
        "sub": subject(session.person.user_id),
        "aud": client_id,
        "iat": now,
        "exp": now + LOGOUT_TOKEN_LIFE,
        "jti": new_id(),
        "sid": session.sid,
        "events": {LOGOUT_EVENT: {}},
    }
