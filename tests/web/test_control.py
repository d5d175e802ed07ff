"""What master and workers say to each other, over a real socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from oidcgate.web.control import MOST_LINE, TOO_LONG, Channel, Message, OnMessage

LIMIT = 10.0  # seconds after which a test is stuck


async def nothing(_message: Message) -> Message | None:
    """Has no answer."""
    return None


@asynccontextmanager
async def pair(left: OnMessage = nothing, right: OnMessage = nothing) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two sides that listen."""
    one, two = socket.socketpair()
    channels = [await Channel.over(one, left), await Channel.over(two, right)]
    tasks = [asyncio.create_task(channel.listen()) for channel in channels]
    try:
        yield channels[0], channels[1]
    finally:
        for channel in channels:
            channel.close()
        await asyncio.wait_for(asyncio.gather(*tasks), LIMIT)


@asynccontextmanager
async def raw(on_message: OnMessage = nothing) -> AsyncIterator[tuple[Channel, asyncio.Task[None], socket.socket]]:
    """One side that listens, its listening, and the other end's bare socket."""
    one, two = socket.socketpair()
    two.setblocking(False)
    channel = await Channel.over(one, on_message)
    listening = asyncio.create_task(channel.listen())
    try:
        yield channel, listening, two
    finally:
        two.close()
        channel.close()
        await asyncio.wait_for(listening, LIMIT)


async def test_questions_are_answered() -> None:
    """Each with its own answer, both ways at once, in whatever order they come."""
    gate = asyncio.Event()

    async def doubled(message: Message) -> Message | None:
        if message["number"] == 0:
            await gate.wait()
        else:
            gate.set()
        return {"double": message["number"] * 2}

    async with pair(doubled, doubled) as (left, right):
        questions = [side.ask("double", number=number) for number in (0, 1, 2) for side in (left, right)]
        answers = await asyncio.wait_for(asyncio.gather(*questions), LIMIT)
    assert [answer and answer["double"] for answer in answers] == [0, 0, 2, 2, 4, 4]


async def test_an_answer_that_is_too_long() -> None:
    """The other side hears that it is, instead of hanging up; and both go on."""

    async def answer(message: Message) -> Message | None:
        return {"result": "x" * MOST_LINE} if message["say"] == "sessions" else {"well": True}

    async with pair(answer) as (_, right):
        told = await right.ask("sessions", limit=LIMIT)
        after = await right.ask("ping", limit=LIMIT)
    assert told == {"answers": 1, "failure": TOO_LONG}
    assert after == {"answers": 2, "well": True}


async def test_what_is_told_has_no_answer() -> None:
    """The other side hears it as it was said, and says nothing."""
    heard: asyncio.Queue[Message] = asyncio.Queue()

    async def keep(message: Message) -> Message | None:
        heard.put_nowait(message)
        return {"never": "sent"}

    async with pair(right=keep) as (left, _right):
        left.tell(say="stop", drain=1.5, text="Grüße\n")
        assert await asyncio.wait_for(heard.get(), LIMIT) == {"say": "stop", "drain": 1.5, "text": "Grüße\n"}


async def test_a_question_without_words_for_an_answer() -> None:
    """None from the one who was asked is an empty answer: it has heard."""
    async with pair() as (left, _right):
        answer = await left.ask("anything", limit=LIMIT)
    assert answer is not None
    assert set(answer) == {"answers"}


async def test_no_answer_in_time() -> None:
    """None; and the answer that comes too late disturbs nobody."""
    release = asyncio.Event()

    async def slow(message: Message) -> Message | None:
        if message["say"] == "slow":
            await release.wait()
        return {"to": message["say"]}

    async with pair(right=slow) as (left, _right):
        assert await left.ask("slow", limit=0.01) is None
        release.set()
        answer = await left.ask("quick", limit=LIMIT)
        assert answer is not None
        assert answer["to"] == "quick"


async def test_the_other_side_goes_while_it_is_asked() -> None:
    """Nobody waits for the dead."""
    async with raw() as (channel, listening, other):
        question = asyncio.create_task(channel.ask("anything", limit=600))
        await asyncio.get_running_loop().sock_recv(other, 1)
        other.close()
        assert await asyncio.wait_for(question, LIMIT) is None
        await asyncio.wait_for(listening, LIMIT)
        channel.tell(say="nobody hears it")
        assert await channel.ask("nobody answers", limit=0.01) is None


@pytest.mark.parametrize("line", [b"no JSON\n", b'{"half": ', b"\xff\xfe\n"], ids=["words", "cut", "bytes"])
async def test_nonsense_ends_the_conversation(line: bytes) -> None:
    """Both are of one release: who says something else is nobody to talk to."""
    async with raw() as (_channel, listening, other):
        await asyncio.get_running_loop().sock_sendall(other, line)
        other.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(listening, LIMIT)


async def test_an_answer_that_nobody_asked_for() -> None:
    """It is dropped, and the conversation goes on."""
    loop = asyncio.get_running_loop()
    async with raw() as (channel, _listening, other):
        await loop.sock_sendall(other, b'{"answers": 77}\n')
        question = asyncio.create_task(channel.ask("anything", limit=LIMIT))
        await loop.sock_recv(other, 1000)
        await loop.sock_sendall(other, b'{"answers": 1, "good": true}\n{"answers": 1, "good": false}\n')
        answer = await question
        assert answer == {"answers": 1, "good": True}


async def test_long_messages() -> None:
    """A list of a thousand sessions is one line."""

    async def listed(_message: Message) -> Message | None:
        return {"sessions": ["x" * 1000] * 1000}

    async with pair(right=listed) as (left, _right):
        answer = await left.ask("sessions", limit=LIMIT)
    assert answer is not None
    assert len(answer["sessions"]) == 1000


async def test_an_answer_is_the_last_that_is_heard() -> None:
    """It counts, although the other side has gone by the time it is read."""
    reader, hung_up = asyncio.StreamReader(), asyncio.Event()

    class Writer:
        """A writer whose words nobody hears."""

        def is_closing(self) -> bool:
            return False

        def write(self, _data: bytes) -> None:
            reader.feed_data(b'{"answers": 1, "good": true}\n')
            reader.feed_eof()

        def close(self) -> None:
            hung_up.set()

    channel = Channel(reader, Writer(), nothing)  # type: ignore[arg-type]
    question = asyncio.create_task(channel.ask("anything", limit=LIMIT))
    await asyncio.wait_for(channel.listen(), LIMIT)
    assert await question == {"answers": 1, "good": True}
    assert hung_up.is_set()


async def test_when_the_other_side_was_heard() -> None:
    """Any word counts, also an answer that nobody waits for any more: whoever is slow is not gone."""
    heard = asyncio.Event()

    async def note(_message: Message) -> Message | None:
        heard.set()
        return None

    async with raw(note) as (channel, _listening, other):
        loop = asyncio.get_running_loop()
        for text in (b'{"say": "news"}\n', b'{"answers": 999}\n{"say": "news"}\n'):
            channel.heard = 0.0
            heard.clear()
            await loop.sock_sendall(other, text)
            await asyncio.wait_for(heard.wait(), LIMIT)
            assert channel.heard > 0.0
        channel.heard = 0.0
        assert await channel.ask("anything", limit=0.01) is None
        assert channel.heard == 0.0
