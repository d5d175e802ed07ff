"""
The credential plugin: the token that is kept while it is good, else one that is got under a lock.

Edge: files; whatever talks to the issuer is imported when it is needed, since kubectl asks for each command.

- However many ask at once, one of them signs in or renews, and the others take what it stored, or hear how it failed.
- Every failure is one sentence that says what to do. No token is in any of them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from oidcgate.errors import (
    CLIENT_ERRORS,
    AuthorizationError,
    ConfigError,
    InvalidIdToken,
    OidcgateError,
    ProviderUnreachable,
    TokenError,
)
from oidcgate.kubectl.account import Account, CredentialError
from oidcgate.kubectl.cache import Cache
from oidcgate.kubectl.entry import Entry, Token
from oidcgate.kubectl.exec_credential import exec_credential, used_up

if TYPE_CHECKING:
    from oidcgate.kubectl.signin import SignIn

WAITING = "Another program signs you in already; waiting for it."


@dataclass(frozen=True, slots=True)
class Status:
    """What is kept, for people; ``is_signed_in`` says whether kubectl would get a token without a login."""

    is_signed_in: bool
    text: str


class Plugin:
    """
    Gets, shows and forgets the tokens of one account.

    Args:
        sign_in: makes what talks to the issuer; called only when that is needed.
        say: shows a sentence to the person.
    """

    def __init__(
        self,
        account: Account,
        cache: Cache,
        *,
        sign_in: "Callable[[], SignIn]",
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._cache = cache
        self._sign_in = sign_in
        self._say = say
        self._clock = clock

    def get(self) -> str:
        """
        The ExecCredential.

        Raises:
            CredentialError: there is none.
        """
        began = self._clock()
        token = self._fresh(self._cache.read()) or self._got(began)
        return exec_credential(token.id_token, until=used_up(token.issued, token.expires))

    def logout(self) -> str:
        """
        Forget the tokens, and give them back where the issuer takes them; a sentence about it.

        Raises:
            CredentialError: they cannot be removed.
        """
        import asyncio

        with self._cache.lock(lambda: self._say(WAITING)):
            entry = self._cache.read()
            self._cache.drop()
            if entry is None:
                return "Nobody was signed in."
            if entry.refresh_token is None:
                return "Signed out: the tokens are deleted from this machine."
            try:
                is_revoked = asyncio.run(self._sign_in().revoke(entry.refresh_token))
            except OidcgateError:
                is_revoked = False
        if is_revoked:
            return "Signed out: the tokens are deleted from this machine, and revoked at the issuer."
        return (
            "Signed out: the tokens are deleted from this machine. The issuer could not revoke them: what somebody "
            "copied before works until it expires."
        )

    def status(self) -> Status:
        """What is kept."""
        entry, now = self._cache.read(), self._clock()
        if entry is None:
            return Status(False, f"Nobody is signed in at {self._account.issuer} for {self._account.client_id}.")
        lines = [f"Signed in at {self._account.issuer} as {entry.claims.email or entry.claims.subject}."]
        for slot, token in sorted(entry.tokens.items()):
            mine = " (this one)" if slot == self._account.slot else ""
            ends = datetime.fromtimestamp(token.expires).astimezone().isoformat(" ", "seconds")
            lines.append(f"Token for {slot}{mine}: {'good until' if token.expires > now else 'expired'} {ends}.")
        can_renew = entry.refresh_token is not None and self._account.wanted <= entry.scopes
        lines.append("It is renewed by itself." if can_renew else "A new one needs a new sign-in.")
        return Status(can_renew or self._fresh(entry) is not None, "\n".join(lines))

    def _fresh(self, entry: Entry | None) -> Token | None:
        """The token that is kept, unless it is used up."""
        token = entry.tokens.get(self._account.slot) if entry is not None else None
        if token is None or self._clock() >= used_up(token.issued, token.expires):
            return None
        return token

    def _got(self, began: float) -> Token:
        import asyncio

        with self._cache.lock(lambda: self._say(WAITING)) as lock:
            entry = self._cache.read()
            token = self._fresh(entry)
            if token is not None:
                return token
            failure = lock.failure_since(began)
            if failure is not None:
                raise CredentialError(failure)
            try:
                return asyncio.run(self._sign_in().token(entry))
            except OidcgateError as error:
                sentence = explain(error, self._account)
                lock.note_failure(sentence, self._clock())
                raise CredentialError(sentence) from error


def explain(error: OidcgateError, account: Account) -> str:
    """What went wrong, and what to do, in one sentence."""
    issuer, client = account.issuer, account.client_id
    match error:
        case CredentialError():
            return str(error)
        case ConfigError():
            return f"the issuer's authority cannot be used ({error.problems[0].message}); check --ca-file or --ca-data"
        case ProviderUnreachable():
            return f"{issuer} does not answer ({error}); check the network and try again"
        case AuthorizationError():
            return f"{issuer} refused the sign-in with {error.error}; {advice(error.error, account)}"
        case TokenError(error=code) if code in CLIENT_ERRORS:
            return f"{issuer} does not know the client {client!r}; ask for a new kubeconfig"
        case TokenError():
            return f"{issuer} gave no token ({error.error}); run the command again"
        case InvalidIdToken():
            return f"the token of {issuer} was refused ({error}); check the clock of this machine and try again"
        case _:
            return f"{issuer} gave an answer that cannot be used ({error}); tell whoever runs it"


def advice(code: str, account: Account) -> str:
    """What to do about an error of the authorization endpoint (RFC 6749 §4.1.2.1)."""
    if code == "invalid_scope" and account.audience:
        return f"in Dex, trustedPeers of the client {account.audience!r} must name {account.client_id!r}"
    if code == "access_denied":
        return "run the command again if that was a mistake"
    return "run the command again, and if it happens again tell whoever runs it"
