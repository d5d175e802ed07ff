"""A login under way: its size, its record, its name; and loops."""

import json
from dataclasses import replace

import pytest

from oidcgate.errors import InvalidSeal
from oidcgate.session.attempt import (
    LIFE,
    LOOP_LOGINS,
    LOOP_WINDOW,
    MOST_BYTES,
    MOST_COOKIE_BYTES,
    Attempt,
    attempt_from_bytes,
    finish,
    label,
    loops,
    used_key,
)
from oidcgate.session.cookies import set_cookie
from oidcgate.session.seal import KeyRing

NOW = 1_800_000_000.0
ATTEMPT = Attempt(
    state="s" * 43,
    nonce="n" * 43,
    verifier="v" * 64,
    provider="0a1b2c3d",
    target="/#/pods",
    fragment="/pods/shop?x=1",
    began=NOW,
)


ELSEWHERE = f"https://{'h' * 63}.{'i' * 63}.{'j' * 63}.{'k' * 60}/"


def test_record() -> None:
    """An attempt reads back as it was, to the second."""
    assert attempt_from_bytes(ATTEMPT.to_bytes()) == ATTEMPT
    assert attempt_from_bytes(replace(ATTEMPT, began=NOW + 0.9).to_bytes()).began == NOW


@pytest.mark.parametrize(
    ("target", "fragment", "kept"),
    [
        pytest.param("/" + "a" * 2047, "", ("/" + "a" * 2047, ""), id="longest-target"),
        pytest.param(ELSEWHERE + "a" * 2047, "", (ELSEWHERE + "a" * 2047, ""), id="longest-target-on-another-host"),
        pytest.param("/a", "f" * 2048, ("/a", "f" * 2048), id="longest-fragment"),
        pytest.param("/" + "a" * 2047, "f" * 2048, ("/" + "a" * 2047, ""), id="both-fragment-left-out"),
        pytest.param("/" + '"' * 2047, "f", ("/", ""), id="target-that-doubles-when-written"),
        pytest.param("/a", '"' * 2048, ("/a", ""), id="fragment-that-doubles-when-written"),
    ],
)
def test_size(target: str, fragment: str, kept: tuple[str, str]) -> None:
    """Whatever a person asked for, the cookie fits a browser's 4096 bytes; what does not fit is left out."""
    plain = replace(ATTEMPT, target=target, fragment=fragment).to_bytes()
    found = attempt_from_bytes(plain)
    assert (found.target, found.fragment) == kept
    assert len(plain) <= MOST_BYTES
    sealed = KeyRing([bytes(32)]).seal(plain, purpose="login", context="x", nonce=bytes(12))
    value = "a" * (-(-len(sealed) * 4 // 3))
    name = b"__Host-oidcgate-login-" + label(ATTEMPT.state).encode()
    assert len(name) + 1 + len(value) <= 3900
    assert len(set_cookie(name, value, secure=True, max_age=600)) <= 4096


def test_attempts_fit_a_head() -> None:
    """All attempts of a browser together leave room in a head of 64 KiB."""
    assert MOST_COOKIE_BYTES <= 32 * 1024


@pytest.mark.parametrize(
    ("after", "late"),
    [
        pytest.param(0, False, id="at-once"),
        pytest.param(LIFE - 0.1, False, id="almost"),
        pytest.param(LIFE, True, id="ten-minutes"),
    ],
)
def test_late(after: float, late: bool) -> None:
    """A login may take ten minutes."""
    assert LIFE == 600
    assert ATTEMPT.is_late(NOW + after) is late


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(b"[]", id="empty"),
        pytest.param(json.dumps(["s"] * 6).encode(), id="a-field-less"),
        pytest.param(json.dumps(["s"] * 8).encode(), id="a-field-more"),
        pytest.param(b"{}", id="no-list"),
        pytest.param(b"7", id="a-number"),
    ],
)
def test_record_of_another_release(plain: bytes) -> None:
    """An attempt that another release wrote differently is no attempt, and no crash."""
    with pytest.raises(InvalidSeal, match="another release"):
        attempt_from_bytes(plain)


def test_label() -> None:
    """A cookie's name says nothing about the state, is the same each time, and takes any text."""
    assert label("state") == label("state")
    assert len(label("state")) == 12
    assert "state" not in label("state")
    assert label("state") != label("statf")
    assert label("\udcff")


def test_used_key() -> None:
    """The mark of a used attempt does not hold the state."""
    assert used_key("state").startswith("used:")
    assert "state" not in used_key("state")


def test_loops() -> None:
    """Logins that follow one another within a minute are a loop at the fourth; old ones are forgotten."""
    finished: tuple[float, ...] = ()
    for number in range(LOOP_LOGINS):
        assert not loops(finished, NOW + number)
        finished = finish(finished, NOW + number)
    assert loops(finished, NOW + LOOP_LOGINS)
    assert not loops(finished, NOW + LOOP_WINDOW)
    assert finish(finished, NOW + LOOP_WINDOW + LOOP_LOGINS) == (NOW + LOOP_WINDOW + LOOP_LOGINS,)


def test_finished_is_bounded() -> None:
    """However many logins succeed, the cookie keeps the last few."""
    finished: tuple[float, ...] = ()
    for number in range(50):
        finished = finish(finished, NOW + number / 10)
    assert len(finished) == LOOP_LOGINS


def test_repr() -> None:
    """State, nonce and verifier show in no repr."""
    shown = repr(ATTEMPT)
    assert not any(secret in shown for secret in (ATTEMPT.state, ATTEMPT.nonce, ATTEMPT.verifier))


WISHED = replace(ATTEMPT, target="/", fragment="", wish="w" * 300, only="cluster-one")


def test_a_wish_and_an_audience_are_kept() -> None:
    """What another host asked for, and which audience alone, read back."""
    assert attempt_from_bytes(WISHED.to_bytes()) == WISHED
    only = replace(ATTEMPT, only="cluster-one")
    assert attempt_from_bytes(only.to_bytes()) == only
    wish = replace(ATTEMPT, wish="w")
    assert attempt_from_bytes(wish.to_bytes()) == wish


def test_attempts_of_the_release_before() -> None:
    """They have seven fields, and are read; so a login survives an upgrade, and one without a wish the way back."""
    row = json.loads(ATTEMPT.to_bytes())
    assert len(row) == 7
    assert attempt_from_bytes(json.dumps(row).encode()) == ATTEMPT
    assert len(json.loads(WISHED.to_bytes())) == 9


def test_size_with_a_wish() -> None:
    """A wish of another host's fits beside the longest target: the target gives way, the wish never."""
    plain = replace(WISHED, target="/" + "a" * 2047, fragment="f" * 2048).to_bytes()
    found = attempt_from_bytes(plain)
    assert len(plain) <= MOST_BYTES
    assert (found.wish, found.only, found.fragment) == (WISHED.wish, WISHED.only, "")
