"""Wishes and tickets: what they say, how long, and that a store that is read redeems none."""

import json

import pytest

from oidcgate.errors import InvalidSeal
from oidcgate.session.ticket import (
    LIFE,
    WISH_LIFE,
    Ticket,
    Wish,
    bound_to,
    ticket_from_bytes,
    ticket_key,
    wish_from_bytes,
)

NOW = 1_800_000_000.0
WISH = Wish("https://one.example.com", "b" * 64, NOW)
TICKET = Ticket("session:" + "a" * 64, "https://one.example.com", "b" * 64)


def test_records() -> None:
    """Both read back as they were, a wish's time to the second."""
    for wish in (WISH, Wish("o", "b", NOW, longer=True)):
        assert wish_from_bytes(wish.to_bytes()) == wish
    assert wish_from_bytes(Wish("o", "b", NOW + 0.9).to_bytes()).began == NOW
    assert ticket_from_bytes(TICKET.to_bytes()) == TICKET


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(b"[]", id="empty"),
        pytest.param(json.dumps(["a"] * 2).encode(), id="a-field-less"),
        pytest.param(json.dumps(["a"] * 4).encode(), id="a-field-more"),
        pytest.param(b"{}", id="no-list"),
        pytest.param(b'"abc"', id="three-letters"),
        pytest.param(b"7", id="a-number"),
    ],
)
def test_records_of_another_release(plain: bytes) -> None:
    """What another release wrote differently is no wish and no ticket, and no crash."""
    with pytest.raises(InvalidSeal, match="another release"):
        wish_from_bytes(plain)
    with pytest.raises(InvalidSeal, match="another release"):
        ticket_from_bytes(plain)


@pytest.mark.parametrize(
    ("after", "late"),
    [
        pytest.param(0, False, id="at-once"),
        pytest.param(WISH_LIFE - 0.1, False, id="almost"),
        pytest.param(WISH_LIFE, True, id="ten-minutes"),
    ],
)
def test_late(after: float, late: bool) -> None:
    """A wish waits for a password to be typed; a ticket lives for a minute."""
    assert (LIFE, WISH_LIFE) == (60.0, 600.0)
    assert WISH.is_late(NOW + after) is late


def test_what_the_store_shows() -> None:
    """The key of a ticket is no name of one, and differs from name to name."""
    assert ticket_key(b"name").startswith("ticket:")
    assert "name" not in ticket_key(b"name").removeprefix("ticket:")
    assert ticket_key(b"name") == ticket_key(b"name") != ticket_key(b"nama")


def test_bound_to() -> None:
    """A wish says nothing about the secret that it is bound to, whatever text that is."""
    assert bound_to("state") == bound_to("state") != bound_to("statf")
    assert "state" not in bound_to("state")
    assert len(bound_to("\udcff")) == 64


def test_reprs() -> None:
    """What binds to a browser shows in no repr."""
    assert "bbbb" not in repr(WISH) + repr(TICKET)
