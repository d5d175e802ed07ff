"""Wishes out, tickets back: sealed, short-lived, used up by the first look."""

import asyncio
import base64
from collections.abc import Iterator

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.session.seal import KeyRing
from oidcgate.session.store import Stored
from oidcgate.session.ticket import LIFE, WISH_LIFE, Ticket, Wish, ticket_key
from oidcgate.stores.memory import MemoryStore
from oidcgate.web.handoff import LONGEST_WISH, NAME_LENGTH, Handoffs

NOW = 1_800_000_000.0
ORIGIN = "https://one.example.com"
BIND = "b" * 64


class Setting:
    """Hand-offs over a store in memory, by one clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = MemoryStore(clock=lambda: self.now)
        self.ring = KeyRing([bytes(32)])
        self.handoffs = self.with_ring(self.ring)

    def with_ring(self, ring: KeyRing) -> Handoffs:
        """Over the same store with other keys."""
        return Handoffs(self.store, ring, clock=lambda: self.now)

    def sealed(self, plain: bytes, purpose: str) -> str:
        """Something else of ours, sealed and written as a wish is."""
        value = self.ring.seal(plain, purpose=purpose, context="", nonce=bytes(12))
        return base64.urlsafe_b64encode(value).decode().rstrip("=")


@pytest.fixture
def setting() -> Iterator[Setting]:
    """Fresh for each test."""
    return Setting()


def test_a_wish_is_read_again(setting: Setting) -> None:
    """By the same gate, and by one whose keys were rotated since; each is written differently."""
    text = setting.handoffs.wish(ORIGIN, BIND)
    assert setting.handoffs.read_wish(text) == Wish(ORIGIN, BIND, NOW)
    rotated = setting.with_ring(KeyRing([b"n" * 32, bytes(32)]))
    assert rotated.read_wish(text) == Wish(ORIGIN, BIND, NOW)
    assert setting.handoffs.wish(ORIGIN, BIND) != text
    assert text.replace("-", "").replace("_", "").isalnum()
    assert ORIGIN not in text


def test_a_wish_runs_out(setting: Setting) -> None:
    """After ten minutes, and not before."""
    text = setting.handoffs.wish(ORIGIN, BIND)
    setting.now += WISH_LIFE - 1
    assert setting.handoffs.read_wish(text) is not None
    setting.now += 1
    assert setting.handoffs.read_wish(text) is None


def test_a_forged_wish_is_none(setting: Setting) -> None:
    """Each single character of a genuine one counts, and foreign keys open nothing."""
    text = setting.handoffs.wish(ORIGIN, BIND)
    for index, char in enumerate(text[:-1]):  # the last one's spare bits mean nothing
        forged = text[:index] + ("A" if char != "A" else "B") + text[index + 1 :]
        assert setting.handoffs.read_wish(forged) is None
    assert setting.with_ring(KeyRing([b"x" * 32])).read_wish(text) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("A", id="one-character"),
        pytest.param("A" * 200, id="zeros"),
        pytest.param("A" * (LONGEST_WISH + 1), id="too-long"),
        pytest.param("\u00e4" * 20, id="not-ascii"),
        pytest.param("a b+c/d", id="another-alphabet"),
        pytest.param("=" * 8, id="padding"),
        pytest.param("\x00" * 64, id="nul"),
    ],
)
async def test_junk_is_no_wish_and_no_ticket(setting: Setting, text: str) -> None:
    """Whatever stands in an address is refused, not crashed on."""
    assert setting.handoffs.read_wish(text) is None
    assert await setting.handoffs.redeem(text) is None
    assert await setting.handoffs.redeem((text * 43)[:NAME_LENGTH]) is None


def test_what_is_sealed_for_another_purpose_is_no_wish(setting: Setting) -> None:
    """A ticket or an attempt of ours does not pass for one, nor does a wish of another release."""
    plain = Wish(ORIGIN, BIND, NOW).to_bytes()
    assert setting.handoffs.read_wish(setting.sealed(plain, "wish")) is not None
    for purpose in ("ticket", "login", "session"):
        assert setting.handoffs.read_wish(setting.sealed(plain, purpose)) is None
    assert setting.handoffs.read_wish(setting.sealed(b'["a","b"]', "wish")) is None


async def test_a_ticket_works_once(setting: Setting) -> None:
    """The first look uses it up; of several at once one alone sees it."""
    wish = Wish(ORIGIN, BIND, NOW)
    name = await setting.handoffs.issue("session:x", wish)
    assert len(name) == NAME_LENGTH
    assert await setting.handoffs.redeem(name) == Ticket("session:x", ORIGIN, BIND)
    assert await setting.handoffs.redeem(name) is None
    name = await setting.handoffs.issue("session:x", wish)
    found = await asyncio.gather(*(setting.handoffs.redeem(name) for _ in range(10)))
    assert [ticket for ticket in found if ticket is not None] == [Ticket("session:x", ORIGIN, BIND)]


async def test_two_looks_at_the_same_moment(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes have read the record before either removes it: one of them gets it."""
    name = await setting.handoffs.issue("session:x", Wish(ORIGIN, BIND, NOW))
    both = asyncio.Barrier(2)
    read = setting.store.get

    async def together(key: str) -> Stored | None:
        stored = await read(key)
        await both.wait()
        return stored

    monkeypatch.setattr(setting.store, "get", together)
    found = await asyncio.gather(setting.handoffs.redeem(name), setting.handoffs.redeem(name))
    assert sorted(ticket is None for ticket in found) == [False, True]


async def test_a_ticket_lives_for_a_minute(setting: Setting) -> None:
    """60 seconds, then it is gone from the store."""
    names = [await setting.handoffs.issue("session:x", Wish(ORIGIN, BIND, NOW)) for _ in range(2)]
    setting.now += LIFE - 0.5
    assert await setting.handoffs.redeem(names[0]) is not None
    setting.now += 1
    assert await setting.handoffs.redeem(names[1]) is None


async def test_the_store_alone_redeems_nothing(setting: Setting) -> None:
    """Who reads the store finds no name, and neither a session's key nor a host; a record that moved is used up."""
    name = await setting.handoffs.issue("session:x", Wish(ORIGIN, BIND, NOW))
    (key,) = await setting.store.keys("ticket:")
    stored = await setting.store.get(key)
    assert stored is not None
    assert key == ticket_key(name.encode())
    assert name not in key
    assert b"session:x" not in stored.value
    assert b"one.example.com" not in stored.value
    other = "c" * NAME_LENGTH
    await setting.store.put(ticket_key(other.encode()), stored.value, life=LIFE)
    assert await setting.handoffs.redeem(other) is None
    assert await setting.store.get(ticket_key(other.encode())) is None


async def test_an_outage_is_told(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes a store that is away for a ticket that was used."""

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("out for a test")

    monkeypatch.setattr(setting.store, "get", away)
    monkeypatch.setattr(setting.store, "put", away)
    with pytest.raises(StoreUnavailable):
        await setting.handoffs.redeem("a" * NAME_LENGTH)
    with pytest.raises(StoreUnavailable):
        await setting.handoffs.issue("session:x", Wish(ORIGIN, BIND, NOW))


async def test_where_a_sign_out_leads_on(setting: Setting) -> None:
    """Kept as a ticket is: for a minute, for one look, sealed, and no ticket."""
    name = await setting.handoffs.see_off("https://dex.example.com/logout?x=y")
    (key,) = await setting.store.keys("ticket:")
    stored = await setting.store.get(key)
    assert stored is not None
    assert b"dex" not in stored.value
    assert await setting.handoffs.seen_off(name) == "https://dex.example.com/logout?x=y"
    assert await setting.handoffs.seen_off(name) is None
    late = await setting.handoffs.see_off("https://dex.example.com/")
    setting.now += LIFE + 1
    assert await setting.handoffs.seen_off(late) is None


async def test_a_ticket_and_a_sign_out_are_not_taken_for_one_another(setting: Setting) -> None:
    """Each is used up by being shown in the wrong place, and leads nowhere there."""
    ticket = await setting.handoffs.issue("session:x", Wish(ORIGIN, BIND, NOW))
    onward = await setting.handoffs.see_off("https://dex.example.com/")
    assert await setting.handoffs.seen_off(ticket) is None
    assert await setting.handoffs.redeem(onward) is None
    assert await setting.handoffs.redeem(ticket) is None
    assert await setting.handoffs.seen_off(onward) is None


@pytest.mark.parametrize(
    "name", ["", "A", "A" * NAME_LENGTH, "\u00e4" * NAME_LENGTH, "https://evil.example/" + "a" * 22]
)
async def test_nobody_signed_out_under_that_name(setting: Setting, name: str) -> None:
    """A name of somebody's own making leads nowhere."""
    assert await setting.handoffs.seen_off(name) is None


async def test_a_ticket_of_another_release(setting: Setting) -> None:
    """What this one does not understand is no ticket, and is used up."""
    name = "d" * NAME_LENGTH
    key = ticket_key(name.encode())
    sealed = setting.ring.seal(b'["a","b"]', purpose="ticket", context=key, nonce=bytes(12))
    await setting.store.put(key, sealed, life=LIFE)
    assert await setting.handoffs.redeem(name) is None
    assert await setting.store.get(key) is None
