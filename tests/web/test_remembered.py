"""Answers that hold for a while: one question, however many ask."""

import asyncio

import pytest

from oidcgate.web import remembered as module
from oidcgate.web.remembered import Remembered


class Asked:
    """Somebody who answers slowly, if at all."""

    def __init__(self, *, life: float = 10.0) -> None:
        self.now = 100.0
        self.life = life
        self.times = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.known: Remembered[int] = Remembered(lambda: self.now)

    async def answer(self) -> tuple[float, int]:
        """The count of questions."""
        self.times += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return self.now + self.life, self.times

    async def ask(self, *key: str) -> int:
        """Through what is remembered."""
        return (await self.known.get(key or ("a",), self.answer))[1]


async def test_one_question_for_all() -> None:
    """Whoever asks meanwhile waits for the same answer, which then holds for its time."""
    asked = Asked()
    waiting = [asyncio.create_task(asked.ask()) for _ in range(5)]
    other = asyncio.create_task(asked.ask("b"))
    asked.go.set()
    assert set(await asyncio.gather(*waiting)) == {1}
    assert await other == 2
    asked.now += 9.9
    assert await asked.ask() == 1
    asked.now += 0.1
    assert await asked.ask() == 3
    asked.known.forget()
    assert await asked.ask() == 4


async def test_whoever_goes_away_takes_nothing_along() -> None:
    """The question goes on for the others."""
    asked = Asked()
    first, second = (asyncio.create_task(asked.ask()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    asked.go.set()
    assert await second == 1


async def test_an_error_is_everybody_s_and_is_not_kept() -> None:
    """The next one asks again; an error that nobody waits for any more is no noise."""
    asked = Asked()
    asked.error = ValueError("no")
    asked.go.set()
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await asked.ask()
    assert asked.times == 2
    asked.go.clear()
    lonely = asyncio.create_task(asked.ask())
    await asyncio.sleep(0)
    lonely.cancel()
    asked.go.set()
    await asyncio.gather(lonely, return_exceptions=True)
    await asked.known.close()


async def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has run out goes first, then everything."""
    monkeypatch.setattr(module, "MOST_KNOWN", 3)
    asked = Asked()
    asked.go.set()
    for name in "abc":
        await asked.ask(name)
        asked.now += 4.0
    await asked.ask("d")  # a has run out
    assert asked.known._known.keys() == {("b",), ("c",), ("d",)}
    asked.life = 1000.0
    asked.known.forget()
    for name in "abcd":
        await asked.ask(name)
    assert asked.known._known.keys() == {("d",)}


async def test_the_end() -> None:
    """What is under way is given up."""
    asked = Asked()
    waiting = asyncio.create_task(asked.ask())
    await asyncio.sleep(0)
    await asked.known.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
