"""
Hands a login over from the host where logins end to the host that wants it: wishes out, tickets back.

Edge by its store, clock and random numbers. A wish is sealed into the address that leads to the login host; the ticket
that comes back is a random name for what lies in the store, and is used up by whoever shows it first.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Callable

from oidcgate.errors import InvalidSeal
from oidcgate.session.seal import NONCE_SIZE, KeyRing
from oidcgate.session.store import Store
from oidcgate.session.ticket import LIFE, Ticket, Wish, ticket_from_bytes, ticket_key, wish_from_bytes

NAME_LENGTH = 43  # 32 bytes in base64url without padding
LONGEST_WISH = 2048


class Handoffs:
    """Makes and takes wishes and tickets."""

    def __init__(self, store: Store, ring: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock

    def wish(self, origin: str, bind: str, *, longer: bool = False) -> str:
        """What a host asks for, for the address."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        plain = Wish(origin, bind, self._clock(), longer).to_bytes()
        sealed = self._ring.seal(plain, purpose="wish", context="", nonce=nonce)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read_wish(self, text: str) -> Wish | None:
        """A wish as ``wish`` wrote it, not too long ago; None for anything else."""
        if len(text) > LONGEST_WISH:
            return None
        try:
            sealed = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            wish = wish_from_bytes(self._ring.unseal(sealed, purpose="wish", context=""))
        except (InvalidSeal, binascii.Error, ValueError):
            return None
        return None if wish.is_late(self._clock()) else wish

    async def issue(self, root: str, wish: Wish) -> str:
        """
        The name of a new ticket for a session.

        Raises:
            StoreUnavailable: it could not be kept.
        """
        name = secrets.token_urlsafe(32)
        key = ticket_key(name.encode())
        nonce = secrets.token_bytes(NONCE_SIZE)
        plain = Ticket(root, wish.origin, wish.bind).to_bytes()
        await self._store.put(key, self._ring.seal(plain, purpose="ticket", context=key, nonce=nonce), life=LIFE)
        return name

    async def see_off(self, onward: str) -> str:
        """
        The name under which the login host finds where a sign-out leads on; good as long as a ticket, and once.

        Raises:
            StoreUnavailable: it could not be kept.
        """
        name = secrets.token_urlsafe(32)
        key = ticket_key(name.encode())
        nonce = secrets.token_bytes(NONCE_SIZE)
        sealed = self._ring.seal(onward.encode(), purpose="sign-out", context=key, nonce=nonce)
        await self._store.put(key, sealed, life=LIFE)
        return name

    async def seen_off(self, name: str) -> str | None:
        """
        Where a sign-out leads on; None when nobody signed out under that name.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        found = await self._take(name, "sign-out")
        return None if found is None else found.decode()

    async def redeem(self, name: str) -> Ticket | None:
        """
        What a ticket stands for; it is used up, whatever becomes of it. None when there is none (any more).

        Not checked: that it was meant for this host and this browser.

        Raises:
            StoreUnavailable: nobody can tell.
        """
        try:
            found = await self._take(name, "ticket")
            return None if found is None else ticket_from_bytes(found)
        except InvalidSeal:
            return None

    async def _take(self, name: str, purpose: str) -> bytes | None:
        """What lies under a name, for one look."""
        if len(name) != NAME_LENGTH:
            return None
        key = ticket_key(name.encode("utf-8", "replace"))
        stored = await self._store.get(key)
        if stored is None or not await self._store.delete(key, expected=stored.version):
            return None
        try:
            return self._ring.unseal(stored.value, purpose=purpose, context=key)
        except InvalidSeal:
            return None
