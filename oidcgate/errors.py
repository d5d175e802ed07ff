"""
Everything that can go wrong, and whose fault it is.

Each class carries the HTTP ``status`` it becomes and a ``public`` sentence that may be shown to anybody;
the cause stays in the exception chain and goes to the log only.

OidcgateError - never raised itself
- ConfigError(problems)            the operator's; the command line exits with 2
- LoginError 400                   the browser's part of the login dialogue
  - StateMismatch                  unknown, foreign or used state (RFC 6749 §10.12)
  - AuthorizationError(error)      the provider said no (RFC 6749 §4.1.2.1)
  - InvalidIdToken(claim)          the token is not for us, not now, or not genuine (OIDC Core §3.1.3.7)
  - NeedsNarrowLogin(audience)     the token is for several clusters and cannot be narrowed
- ProviderError 502                the provider's
  - ProviderUnreachable 503        no answer in time; passing
  - InvalidMetadata                discovery or keys that break the rules
  - TokenError(error)              the token endpoint refused (RFC 6749 §5.2)
  - AudienceRefused(audience)      no token for that cluster alone
- SessionError
  - InvalidHandle                  treated as no session
  - InvalidSeal                    a record that is not ours, or was moved
  - SessionEnded 401               while its request was on its way
  - StoreUnavailable 503           passing; nobody is signed out for it
- UpstreamError 502                the UI's
  - UpstreamUnreachable 502
  - UpstreamTimeout 504
  - InvalidReply                   what it said breaks the rules of HTTP
  - Interrupted                    ended from our side: nobody's fault
- RequestError 400                 the client's request breaks a rule; ``status`` may be any 4xx
"""

from dataclasses import dataclass


class OidcgateError(Exception):
    """The root of the tree."""

    status = 500
    public = "Something went wrong in the gate."


CLIENT_ERRORS = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where (a YAML path such as ``sites[0].url``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(OidcgateError):
    """The configuration cannot be used; ``problems`` names everything wrong with it at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class LoginError(OidcgateError):
    """The login dialogue went wrong on the browser's side."""

    status = 400
    public = "The sign-in could not be completed."


class StateMismatch(LoginError):
    """The callback does not belong to a login that this browser began (RFC 6749 §10.12)."""

    public = "This sign-in did not begin in this browser, or it took too long."


class AuthorizationError(LoginError):
    """The provider answered the authorization request with an error (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(f"authorization refused: {error}")
        self.error = error
        self.description = description


class InvalidIdToken(LoginError):
    """The ID token fails a check; ``claim`` names the claim or part that does (OIDC Core §3.1.3.7)."""

    public = "The identity provider's answer could not be accepted."

    def __init__(self, claim: str, message: str) -> None:
        super().__init__(f"{claim}: {message}")
        self.claim = claim


class NeedsNarrowLogin(LoginError):
    """A login's token is for more than ``audience``, and no refresh token came along to narrow it with."""

    public = "This sign-in was for several sites at once, and this one needs a sign-in of its own."

    def __init__(self, audience: str) -> None:
        super().__init__(f"without a refresh token, {audience or 'the client itself'!r} needs a login of its own")
        self.audience = audience


class ProviderError(OidcgateError):
    """The provider's fault."""

    status = 502
    public = "The identity provider gave an answer that cannot be used."


class ProviderUnreachable(ProviderError):
    """No answer from the provider in time. Passing: nobody is signed out for it."""

    status = 503
    public = "The identity provider does not answer right now."


class InvalidMetadata(ProviderError):
    """Discovery document or key set break the rules (OIDC Discovery §3, RFC 7517)."""


class TokenError(ProviderError):
    """
    The token endpoint refused (RFC 6749 §5.2).

    ``final`` says that asking again with the same grant is pointless: any 400, since Dex names a dead refresh token
    ``invalid_request``. A client that the issuer does not know (§5.2, ``invalid_client``) is the operator's mistake:
    put right, the same grant works again.
    """

    def __init__(self, error: str, *, status_seen: int) -> None:
        super().__init__(f"token endpoint: {error} (HTTP {status_seen})")
        self.error = error
        self.status_seen = status_seen
        self.final = status_seen == 400 and error not in CLIENT_ERRORS


class AudienceRefused(ProviderError):
    """The provider gives no token for ``audience`` alone (empty = the client itself)."""

    public = "The identity provider gives no token for this site alone."

    def __init__(self, audience: str, client_id: str, got: str) -> None:
        hint = f"; in Dex, trustedPeers of the client {audience!r} must name {client_id!r}" if audience else ""
        super().__init__(f"no token for the audience {audience or client_id!r} alone ({got}){hint}")
        self.audience = audience


class SessionError(OidcgateError):
    """Something about a session."""

    status = 401
    public = "You are not signed in."


class InvalidHandle(SessionError):
    """The cookie's value is not a handle; treated as no session."""


class InvalidSeal(SessionError):
    """Sealed bytes do not open: another key, another purpose, or tampered with."""


class InvalidBearer(SessionError):
    """The token that a program brought is not good here (RFC 6750 §3.1)."""


class SessionEnded(SessionError):
    """The session ended while its request was on its way."""


class StoreUnavailable(SessionError):
    """The session store does not answer. Passing: the cookie stays untouched."""

    status = 503
    public = "The session store does not answer right now."


class UpstreamError(OidcgateError):
    """The UI behind the gate failed."""

    status = 502
    public = "The application behind this address gave an answer that cannot be passed on."
    kind = "lost"  # in metrics; empty = it is not to be counted


class UpstreamUnreachable(UpstreamError):
    """No connection to the UI."""

    kind = "connect"
    public = "The application behind this address does not answer."


class UpstreamTimeout(UpstreamError):
    """The UI accepted the request and did not begin to answer in time."""

    status = 504
    public = "The application behind this address took too long to answer."
    kind = "timeout"


class InvalidReply(UpstreamError):
    """What the UI said breaks the rules of HTTP, and is not passed on (RFC 9112 §11)."""

    kind = "protocol"


class Interrupted(UpstreamError):
    """The browser left, or the session ended, while the UI was answering."""

    kind = ""


class RequestError(OidcgateError):
    """The request breaks a rule; ``status`` is a 4xx and ``public`` says what to do."""

    def __init__(self, public: str, *, status: int = 400) -> None:
        super().__init__(public)
        self.public = public
        self.status = status
