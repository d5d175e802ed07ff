"""Order, skipping, and the end of patience."""

from collections.abc import Awaitable, Callable
from itertools import count

from oidcgate.doctor.report import Said, fail, ok, skip, warn
from oidcgate.doctor.walk import Check, walk
from oidcgate.errors import StoreUnavailable

A, B = "https://a.example.com", "https://b.example.com"


def says(*said: Said) -> Callable[[], Awaitable[list[Said]]]:
    """A check that says things."""

    async def run() -> list[Said]:
        return list(said)

    return run


BAD = fail("no", "key", "fix")


async def messages(*checks: Check, **options: object) -> list[tuple[str, str, str]]:
    """Hop, status and message of each finding."""
    return [(f.hop, f.status, f.message) for f in await walk(checks, **options)]  # type: ignore[arg-type]


async def test_what_stands_on_a_failure_is_skipped() -> None:
    """With the name of the cause, also two hops further; the rest goes on."""
    assert await messages(
        Check("one", "", says(ok("yes"), BAD)),
        Check("two", "", says(BAD), (("one", ""),)),
        Check("three", "", says(BAD), (("two", ""), ("never", ""))),
        Check("four", "", says(ok("yes"))),
    ) == [
        ("one", "ok", "yes"),
        ("one", "fail", "no"),
        ("two", "skip", "because one failed"),
        ("three", "skip", "because one failed"),
        ("four", "ok", "yes"),
    ]


async def test_a_hop_of_one_site() -> None:
    """Another site's goes on, and the cause is named with its site."""
    assert await messages(
        Check("ui", A, says(BAD)),
        Check("ui", B, says(warn("soon", "key", "fix"))),
        Check("identity", A, says(ok("yes")), (("ui", A),)),
        Check("identity", B, says(ok("yes")), (("ui", B),)),
    ) == [
        ("ui", "fail", "no"),
        ("ui", "warn", "soon"),
        ("identity", "skip", f"because ui of {A} failed"),
        ("identity", "ok", "yes"),
    ]


async def test_a_hop_that_was_left_out() -> None:
    """What needs it is left out, too; one that says something besides is no such hop."""
    assert await messages(
        Check("token", "", says(skip("none was given"))),
        Check("identity", "", says(ok("yes")), (("token", ""),)),
        Check("ui", "", says(skip("a part"), ok("yes"))),
        Check("rest", "", says(ok("yes")), (("ui", ""),)),
    ) == [
        ("token", "skip", "none was given"),
        ("identity", "skip", "because token was skipped"),
        ("ui", "skip", "a part"),
        ("ui", "ok", "yes"),
        ("rest", "ok", "yes"),
    ]


async def test_offline() -> None:
    """Only what needs no network."""
    checks = [Check("one", "", says(ok("yes"))), Check("two", "", says(ok("yes")), offline=True)]
    assert [status for _, status, _ in await messages(*checks, offline=True)] == ["skip", "ok"]


async def test_out_of_time() -> None:
    """Calls without an answer come to an end; a person's time is not counted."""
    hours = count(0, 3600)
    found = await messages(
        Check("token", "", says(ok("yes")), waits=True),
        Check("one", "", says(ok("yes"))),
        Check("two", "", says(ok("yes"))),
        timer=lambda: float(next(hours)),
    )
    assert [status for _, status, _ in found] == ["ok", "ok", "skip"]
    assert "out of time" in found[2][2]


async def test_an_error_that_a_check_did_not_know_of() -> None:
    """It is that hop's failure."""

    async def run() -> list[Said]:
        raise StoreUnavailable("the disk is full")

    assert await messages(Check("store", "", run)) == [("store", "fail", "the disk is full")]


async def test_what_servers_say_is_text() -> None:
    """No line breaks, and nothing that a terminal would obey."""
    assert await messages(Check("gate", "", says(ok("a\nb \033[2J"))), Check("ui", "", says(ok("ü…")))) == [
        ("gate", "ok", "a b ?[2J"),
        ("ui", "ok", "ü…"),
    ]
