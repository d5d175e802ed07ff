"""What somebody finds who steals the store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.fleets import ask, cookie_of, eventually, websocket
from tests.support.fleet import LIMIT, Fleet
from tests.support.redis import RedisServer

pytestmark = pytest.mark.real

PLAIN = ("--appendonly", "yes", "--appendfsync", "always", "--rdbcompression", "no", "--save", "")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that keeps every command on disk."""
    with RedisServer(tmp_path / "redis", PLAIN) as running:
        yield running


@pytest.mark.parametrize("is_shared", [True, False], ids=["redis", "sqlite"])
async def test_the_store_tells_nothing(redis: RedisServer, is_shared: bool) -> None:
    """After logins, refreshes and open websockets the raw files hold no token, cookie, name or address in clear."""
    store = redis.url if is_shared else None
    issued: list[dict[str, Any]] = []

    def noted(reply: dict[str, Any]) -> dict[str, Any]:
        issued.append(reply)
        return reply

    async with Fleet(store=store, issuer={"id_token_life": 3, "reuse_interval": 30.0}) as fleet:
        fleet.issuer.quirks.token_reply = noted
        alice, bob = await fleet.browser("alice"), await fleet.browser("bob")
        cookies = [cookie_of(one, fleet) for one in (alice, bob)]
        wires = [await websocket(fleet.replicas[0], cookie) for cookie in cookies]
        async with asyncio.timeout(LIMIT):
            await fleet.issuer.wait_for("token:refresh", 4)
        assert all([(await ask(fleet, cookie)).status == 200 for cookie in cookies])
        folder = redis.folder if is_shared else fleet.folder
        if is_shared:
            await eventually(lambda: redis.ask("KEYS", "*open:*"), "the list of what is open")
            redis.ask("SAVE")
        written = raw(folder)
        await alice.submit(await alice.open(f"{fleet.url}/oauth2/sign_out"))
        written += raw(folder)
        for wire in wires:
            await wire.close()
    assert b"session:" in written
    assert b"grant:" in written
    secrets = {part for reply in issued for name in TOKENS for part in (reply[name], *reply[name].split("."))}
    secrets |= {cookie.split("=", 1)[1] for cookie in cookies}
    secrets |= {"alice", "bob@", "Alice Arden", "Bob Berger", "demo-0001", "platform-admins"}
    assert len(secrets) > 30
    assert [secret for secret in secrets if secret.encode() in written] == []


TOKENS = ("id_token", "access_token", "refresh_token")


def raw(folder: Path) -> bytes:
    """Every file that the store wrote."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix in (".db", ".rdb", ".aof", "")]
    files += folder.rglob("*.db-*")
    return b"".join(file.read_bytes() for file in files if not file.name.startswith("gate-"))
