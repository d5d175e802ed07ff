"""When a person last used which site: noted in memory, written once a minute, sealed."""

import logging
from collections.abc import Iterator

import pytest

from oidcgate.errors import StoreUnavailable
from oidcgate.session.seal import KeyRing
from oidcgate.stores.memory import MemoryStore
from oidcgate.web import visits as module
from oidcgate.web.visits import KEPT, MOST_SITES, WRITE_EVERY, Visits, visits_key

NOW = 1_800_000_000.0
ALICE, BOB = "grant:" + "a" * 64, "grant:" + "b" * 64
ONE, TWO = "https://one.example.com", "https://two.example.com"


class Setting:
    """Processes over one store, by one clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = MemoryStore(clock=lambda: self.now)
        self.visits, self.other = self.process(), self.process()

    def process(self, key: bytes = bytes(32)) -> Visits:
        """One more process."""
        return Visits(self.store, KeyRing([key]), clock=lambda: self.now)


@pytest.fixture
def setting() -> Iterator[Setting]:
    """Fresh for each test."""
    return Setting()


async def test_noted_at_once_and_written_later(setting: Setting) -> None:
    """The process that saw it knows at once, the others once it is written; nobody sees another person's."""
    setting.visits.note(ALICE, ONE)
    assert await setting.visits.of(ALICE) == {ONE: NOW}
    assert await setting.other.of(ALICE) == {}
    await setting.visits.publish()
    assert await setting.other.of(ALICE) == {ONE: NOW}
    assert await setting.other.of(BOB) == {}


async def test_written_once_a_minute(setting: Setting) -> None:
    """However often somebody comes, the store is written to rarely; without news not at all."""
    setting.visits.note(ALICE, ONE)
    await setting.visits.publish()
    setting.now += 1
    setting.visits.note(ALICE, ONE)
    await setting.visits.publish()
    assert await setting.other.of(ALICE) == {ONE: NOW}
    setting.now = NOW + WRITE_EVERY
    await setting.visits.publish()
    assert await setting.other.of(ALICE) == {ONE: NOW + 1}
    stored = await setting.store.get(visits_key(ALICE))
    setting.now += WRITE_EVERY
    await setting.visits.publish()
    assert await setting.store.get(visits_key(ALICE)) == stored


async def test_processes_add_up(setting: Setting) -> None:
    """What one wrote is not lost when another writes, not even when both do so at the same moment."""
    setting.visits.note(ALICE, ONE)
    setting.other.note(ALICE, TWO)
    put, once = setting.store.put, iter([True])

    async def put_between(*args: object, **options: object) -> int | None:
        if next(once, False):
            await setting.other.publish()
        return await put(*args, **options)  # type: ignore[arg-type]

    setting.store.put = put_between  # type: ignore[method-assign]
    await setting.visits.publish()
    assert await setting.process().of(ALICE) == {ONE: NOW, TWO: NOW}


async def test_kept_for_a_month(setting: Setting) -> None:
    """And then forgotten."""
    setting.visits.note(ALICE, ONE)
    await setting.visits.publish()
    setting.now += KEPT - 1
    assert await setting.other.of(ALICE) == {ONE: NOW}
    setting.now += 2
    assert await setting.other.of(ALICE) == {}


async def test_the_oldest_sites_give_way(setting: Setting) -> None:
    """A person's list has an end: hosts below a wildcard are countless."""
    for number in range(MOST_SITES + 6):
        setting.now += WRITE_EVERY
        setting.visits.note(ALICE, f"https://{number}.example.com")
        await setting.visits.publish()
    found = await setting.other.of(ALICE)
    assert set(found) == {f"https://{number}.example.com" for number in range(6, MOST_SITES + 6)}


async def test_sites_between_two_writes_are_bounded(setting: Setting) -> None:
    """Those that are noted go on being noted; those beyond are not."""
    for number in range(MOST_SITES + 6):
        setting.visits.note(ALICE, f"https://{number}.example.com")
    setting.now += 1
    setting.visits.note(ALICE, "https://0.example.com")
    found = await setting.visits.of(ALICE)
    assert len(found) == MOST_SITES
    assert found["https://0.example.com"] == NOW + 1


async def test_people_between_two_writes_are_bounded(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who are known go on being noted; those beyond are not."""
    monkeypatch.setattr(module, "MOST_PEOPLE", 1)
    setting.visits.note(ALICE, ONE)
    setting.visits.note(BOB, ONE)
    setting.visits.note(ALICE, TWO)
    assert await setting.visits.of(ALICE) == {ONE: NOW, TWO: NOW}
    assert await setting.visits.of(BOB) == {}


async def test_sealed_and_bound_to_the_person(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """The store shows no host; a record that was moved, or of other keys, is none, and is replaced at the next write."""
    setting.visits.note(ALICE, ONE)
    await setting.visits.publish()
    stored = await setting.store.get(visits_key(ALICE))
    assert stored is not None
    assert b"one.example.com" not in stored.value
    await setting.store.put(visits_key(BOB), stored.value, life=60)
    with caplog.at_level(logging.WARNING, "oidcgate.visits"):
        assert await setting.visits.of(BOB) == {}
        assert await setting.process(b"x" * 32).of(ALICE) == {}
    assert len(caplog.records) == 2
    setting.other.note(BOB, TWO)
    await setting.other.publish()
    assert await setting.process().of(BOB) == {TWO: NOW}


async def test_an_outage_loses_nothing(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written a minute later."""

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("out for a test")

    setting.visits.note(ALICE, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(setting.store, "put", away)
        with pytest.raises(StoreUnavailable):
            await setting.visits.publish()
    setting.now += WRITE_EVERY
    await setting.visits.publish()
    assert await setting.other.of(ALICE) == {ONE: NOW}
