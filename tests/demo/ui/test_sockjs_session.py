"""One SockJS session, without a network."""

import asyncio

import pytest

from oidcgate.demo.ui.sockjs_session import SockSession


class Recorder:
    """An application that writes down what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closings = 0

    def message(self, text: str) -> None:
        """Notes the text."""
        self.texts.append(text)

    def closed(self) -> None:
        """Notes the end."""
        self.closings += 1


@pytest.fixture
def ended() -> list[SockSession]:
    """The sessions that have ended."""
    return []


@pytest.fixture
async def session(ended: list[SockSession]) -> SockSession:
    """A session with a recorder behind it and long timers."""
    session = SockSession(heartbeat=3600, orphan_timeout=3600, on_end=ended.append)
    session.peer = Recorder()
    return session


async def test_frames_in_their_order(session: SockSession) -> None:
    """`o` first, all that waits in one `a`, `c` at the end and again."""
    session.send("early")
    assert await session.next_frame() == "o"
    session.send('a "b"')
    session.close(1, "done")
    session.send("late")
    assert await session.next_frame() == 'a["early","a \\"b\\""]'
    assert await session.next_frame() == 'c[1,"done"]'
    assert await session.next_frame() == 'c[1,"done"]'


async def test_a_waiting_receiver_wakes(session: SockSession) -> None:
    """A message reaches the receiver that is already there; so does the end."""
    await session.next_frame()
    waiting = asyncio.create_task(session.next_frame())
    await asyncio.sleep(0)
    session.send("x")
    assert await waiting == 'a["x"]'
    waiting = asyncio.create_task(session.next_frame())
    await asyncio.sleep(0)
    session.close(2, "gone")
    assert await waiting == 'c[2,"gone"]'


async def test_silence_is_filled() -> None:
    """After the heartbeat's time comes `h`."""
    session = SockSession(heartbeat=0.001, orphan_timeout=3600, on_end=lambda _session: None)
    assert [await session.next_frame() for _ in range(3)] == ["o", "h", "h"]


async def test_messages_reach_the_application_until_the_end(session: SockSession) -> None:
    """In order; nothing after the close."""
    session.receive(["1", "2"])
    session.close(1, "done")
    session.receive(["3"])
    assert isinstance(session.peer, Recorder)
    assert session.peer.texts == ["1", "2"]


async def test_the_application_hears_of_the_end_once(session: SockSession, ended: list[SockSession]) -> None:
    """However often and in whatever way it ends."""
    session.close(1, "done")
    session.close(2, "again")
    session.end()
    session.end()
    assert isinstance(session.peer, Recorder)
    assert session.peer.closings == 1
    assert ended == [session]


async def test_one_receiver_at_a_time(session: SockSession) -> None:
    """The second has to wait for the first to leave."""
    assert session.attach()
    assert not session.attach()
    session.detach()
    assert session.attach()
    session.end()


async def test_an_orphan_dies() -> None:
    """Without a receiver the session ends by itself; with one it stays."""
    gone = asyncio.Event()
    session = SockSession(heartbeat=3600, orphan_timeout=0.001, on_end=lambda _session: gone.set())
    session.attach()
    session.detach()
    await gone.wait()
    assert session.is_closed
    assert [await session.next_frame() for _ in range(2)] == ["o", 'c[3000,"Go away!"]']
