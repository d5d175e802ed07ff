"""What a running gate's audit says."""

import json
from typing import Any

from tests.support.stack import Stack
from tests.support.upstream import until

AUDIT = {"audit": {"file": "audit.log"}}  # in the stack's folder

Event = dict[str, Any]


def events(stack: Stack, *kinds: str) -> list[Event]:
    """All events so far, or those of some kinds."""
    assert stack.gate is not None
    stack.gate.audit.flush()
    rows = [json.loads(line) for line in (stack.folder / "audit.log").read_text().splitlines()]
    assert all(row["kind"] == "audit" for row in rows)
    return [row for row in rows if row["event"] in kinds or not kinds]


async def heard(stack: Stack, kind: str, *, count: int = 1) -> Event:
    """Wait until there are so many events of a kind; the last of them."""
    await until(lambda: len(events(stack, kind)) >= count)
    return events(stack, kind)[-1]


def facts(event: Event, *names: str) -> tuple[Any, ...]:
    """Some of an event's facts; None = not told."""
    return tuple(event.get(name) for name in names)
