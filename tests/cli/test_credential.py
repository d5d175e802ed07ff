"""`oidcgate credential` as kubectl runs it: streams and exit codes."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.support import ran, started
from tests.kubectl.support import Desk

INFO = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": False}}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Somebody's desk."""
    async with Desk(tmp_path) as there:
        yield there


async def test_get(desk: Desk) -> None:
    """Standard output is the ExecCredential, whole; the token is nowhere else."""
    code, output, errors = await desk.ran(
        "get", "--browser-command", desk.browser_command, KUBERNETES_EXEC_INFO=json.dumps(INFO)
    )
    assert code == 0, errors
    token = json.loads(output)["status"]["token"]
    assert desk.claims(token)["email"] == "alice@example.com"
    assert errors == "Sign in in the browser window that opens now.\n"
    again = await desk.ran("get")
    assert again == (0, output, "")


async def test_status_and_logout(desk: Desk) -> None:
    """1 when nobody is signed in."""
    assert (await desk.ran("status"))[0] == 1
    await desk.ran("get", "--browser-command", desk.browser_command)
    code, output, errors = await desk.ran("status")
    assert (code, "as alice@example.com" in output, errors) == (0, True, "")
    code, output, errors = await desk.ran("logout")
    assert (code, output, errors.startswith("Signed out")) == (0, "", True)
    assert (await desk.ran("status"))[0] == 1
    assert [name for name in os.listdir(desk.folder.parent / "xdg" / "oidcgate") if not name.endswith(".lock")] == []


@pytest.mark.parametrize(
    ("more", "environment", "words"),
    [
        (["--timeout", "0.01", "--no-browser"], {}, "nobody signed in within"),
        (["--ca-data", "%"], {}, "--ca-data is not base64"),
        (["--ca-data", "eA=="], {}, "the issuer's authority cannot be used"),
        (["--ca-file", "/nowhere"], {}, "check --ca-file"),
        ([], {"KUBERNETES_EXEC_INFO": "{}"}, "set `apiVersion: client.authentication.k8s.io/v1`"),
        ([], {"XDG_CACHE_HOME": "/dev/null"}, "set XDG_CACHE_HOME to another folder"),
    ],
)
async def test_errors(desk: Desk, more: list[str], environment: dict[str, str], words: str) -> None:
    """One sentence that says what to do, nothing for kubectl, and 1."""
    code, output, errors = await desk.ran("get", *more, **environment)
    assert (code, output) == (1, "")
    assert words in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("oidcgate: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize("issuer", ["http://dex.example.com", "dex.example.com", "https://[", "ftp://localhost"])
async def test_an_issuer_that_cannot_be(issuer: str) -> None:
    """Is refused before anything is sent."""
    code, output, errors = await ran("credential", "get", "--issuer", issuer, "--client-id", "kubectl")
    assert (code, output) == (1, "")
    assert "must begin with https://" in errors


async def test_the_issuer_is_away(desk: Desk) -> None:
    """One calm sentence."""
    await desk.issuer.stop()
    code, output, errors = await desk.ran("get", "--no-browser")
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert "does not answer" in errors
    await desk.issuer.start()


async def test_the_interrupt_key(desk: Desk) -> None:
    """Ends the login with a sentence and 1: kubectl must not go on without a token."""
    async with started(*desk.arguments("get", "--no-browser"), **desk.environment) as program:
        assert program.process.stderr is not None
        await program.process.stderr.readline()
        code, errors = await program.end(signal.SIGINT)
    assert (code, program.output, errors) == (1, "", "oidcgate: the sign-in was interrupted\n")
