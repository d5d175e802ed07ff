"""kubectl with the same account: the plugin as many programs, killed programs, and the real kubectl with a real cluster."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from oidcgate.demo.issuer import Client
from oidcgate.kubectl.login import SIGNED_IN
from tests.cli.support import ran, started
from tests.kubectl.support import URL, Desk
from tests.lab.kube.lab import NAMESPACE, POD, Lab, running_lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.browser import Browser
from tests.support.raw import LIMIT

MANY = 10


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Somebody's desk."""
    async with Desk(tmp_path) as there:
        yield there


def token_of(output: str) -> str:
    """The token that kubectl would use."""
    return str(json.loads(output)["status"]["token"])


async def test_many_at_once(desk: Desk) -> None:
    """Ten start together: one tab, one login, one token for all."""
    get = [desk.ran("get", "--browser-command", desk.browser_command) for _ in range(MANY)]
    done = await asyncio.gather(*get)
    assert [code for code, _, _ in done] == [0] * MANY, done
    assert len({output for _, output, _ in done}) == 1
    assert desk.tabs() == [f"200 {SIGNED_IN[0]}"]
    assert desk.issuer.calls["token"] == 1


async def test_many_renew_at_once(desk: Desk) -> None:
    """One of them renews, the others take what it stored; nobody is asked."""
    first = await desk.ran("get", "--browser-command", desk.browser_command)
    desk.issuer.id_token_life = 3600
    file = next((desk.folder.parent / "xdg" / "oidcgate").glob("*.json"))
    record = json.loads(file.read_text())
    for each in record["tokens"].values():
        each["issued"] -= 7200
        each["expires"] = each["issued"] + 60
    file.write_text(json.dumps(record))
    done = await asyncio.gather(*(desk.ran("get", "--no-browser") for _ in range(MANY)))
    assert {code for code, _, _ in done} == {0}, done
    assert len({output for _, output, _ in done}) == 1
    assert token_of(done[0][1]) != token_of(first[1])
    assert desk.issuer.calls["token:refresh"] == 1
    assert len(desk.tabs()) == 1


async def test_many_fail_at_once(desk: Desk) -> None:
    """One login that is refused opens one tab, however many waited for it."""
    desk.issuer.quirks.callback_params = lambda found: [
        ("error", "access_denied"),
        *[pair for pair in found if pair[0] == "state"],
    ]
    get = [desk.ran("get", "--browser-command", desk.browser_command) for _ in range(4)]
    async with asyncio.timeout(LIMIT * 2):
        done = await asyncio.gather(*get)
    assert {(code, output) for code, output, _ in done} == {(1, "")}
    assert all("refused the sign-in with access_denied" in errors for _, _, errors in done)
    assert len(desk.tabs()) == desk.issuer.calls["auth"] == 1


async def test_killed_while_somebody_signs_in(desk: Desk) -> None:
    """The next one is not kept waiting; what was there before is whole."""
    async with AsyncExitStack() as stack:
        arguments = desk.arguments("get", "--no-browser")
        first = await stack.enter_async_context(started(*arguments, **desk.environment))
        assert first.process.stderr is not None
        address = URL.search((await first.process.stderr.readline()).decode())
        second = await stack.enter_async_context(started(*arguments, **desk.environment))
        assert second.process.stderr is not None
        assert b"waiting" in await second.process.stderr.readline()
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        again = URL.search((await second.process.stderr.readline()).decode())
        assert address is not None
        assert again is not None
        assert address[0] != again[0]
        page = await Browser().sign_in(again[0])
        assert SIGNED_IN[0] in page.text
        code, errors = await second.end()
        assert code == 0, errors
    assert (await desk.ran("get", "--no-browser"))[1] == second.output


async def test_killed_while_it_renews(desk: Desk) -> None:
    """The issuer has rotated already, so that the refresh token is lost: a login follows, without a loop."""
    await desk.ran("get", "--browser-command", desk.browser_command)
    file = next((desk.folder.parent / "xdg" / "oidcgate").glob("*.json"))
    record = json.loads(file.read_text())
    for each in record["tokens"].values():
        each["issued"] -= 7200
        each["expires"] = each["issued"] + 60
    file.write_text(json.dumps(record))
    desk.issuer.quirks.hang.add("token:reply")
    async with started(*desk.arguments("get", "--no-browser"), **desk.environment) as program:
        await asyncio.wait_for(desk.issuer.wait_for("token:refresh"), LIMIT)
        program.process.send_signal(signal.SIGKILL)
        await program.process.wait()
    desk.issuer.release()
    code, output, errors = await desk.ran("get", "--browser-command", desk.browser_command)
    assert code == 0, errors
    assert desk.claims(token_of(output))["email"] == "alice@example.com"
    assert len(desk.tabs()) == 2


async def test_device_flow(desk: Desk) -> None:
    """On a machine without a screen the code is typed in elsewhere."""
    async with started(*desk.arguments("get"), **desk.environment) as program:
        assert program.process.stderr is not None
        address = URL.search((await program.process.stderr.readline()).decode())
        assert address is not None
        browser = Browser()
        page = await browser.submit(await browser.open(address[0].rstrip(";")))
        await browser.submit(page, login="bob", password="bob")
        code, errors = await program.end()
    assert code == 0, errors
    assert desk.claims(token_of(program.output))["email"] == "bob@example.com"


async def test_a_tab_of_another_login(desk: Desk) -> None:
    """Does not end the wait; the right one does."""
    async with started(*desk.arguments("get", "--no-browser"), **desk.environment) as program:
        assert program.process.stderr is not None
        address = URL.search((await program.process.stderr.readline()).decode())
        assert address is not None
        browser = Browser()
        back = address[0].partition("redirect_uri=")[2].partition("&")[0].replace("%3A", ":").replace("%2F", "/")
        assert (await browser.open(f"{back}?state=other&code=x")).status == 400
        assert (await browser.sign_in(address[0])).status == 200
        code, errors = await program.end()
    assert code == 0, errors


# With the real kubectl


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    """A control plane that takes tokens for kubectl's own client, and for the cluster's."""
    async with running_lab(audiences=("gate", "kubectl", "one")) as running:
        running.issuer.add_client(Client("kubectl", None, ()))
        running.issuer.add_client(Client("one", "one", (), trusted_peers=("kubectl",)))
        yield running


CONFIG = """
listen: ["127.0.0.1:0"]
admin: null
provider: {{issuer: {issuer}, client_id: gate, ca_file: {ca}}}
session: {{store: memory}}
sites:
  - url: http://localhost:8000
    upstream: {{url: "{api}", ca_file: {ca}}}
    kubernetes: {{api: "{api}", ca_file: {ca}}}
    kubectl: {{client_id: kubectl}}
    provider: {{audience: {audience}}}
"""


@pytest.mark.real
@pytest.mark.timeout(BUILD_LIMIT)
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("audience", ["null", "one"])
async def test_real_kubectl(lab: Lab, tmp_path: Path, audience: str) -> None:
    """It asks with the printed kubeconfig, the person signs in once, and the cluster knows them."""
    file = tmp_path / "gate.yaml"
    file.write_text(
        CONFIG.format(issuer=lab.issuer.url, ca=lab.authority.ca_file, api=lab.cluster.url, audience=audience)
    )
    command = tmp_path / "oidcgate"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m oidcgate "$@" --no-browser\n')
    command.chmod(0o755)
    code, printed, errors = await ran("kubeconfig", "--config", file, "--command", command)
    assert code == 0, errors
    kubeconfig = tmp_path / "kubeconfig.yaml"
    kubeconfig.write_text(printed)
    environment = {**lab.cluster.environment, "XDG_CACHE_HOME": str(tmp_path / "xdg"), "PYTHONPATH": os.getcwd()}
    process = await asyncio.create_subprocess_exec(
        *lab.cluster.command("auth", "whoami", "-o", "json", kubeconfig=kubeconfig),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(LIMIT * 4):
        line = (await process.stderr.readline()).decode()
        address = URL.search(line)
        assert address is not None, line + (await process.stderr.read()).decode()
        browser = Browser(route=lab.issuer.route)
        page = await browser.sign_in(address[0], "bob")
        assert SIGNED_IN[0] in page.text
        output, rest = await process.communicate()
    assert process.returncode == 0, rest
    assert json.loads(output)["status"]["userInfo"]["username"] == "oidc:bob@example.com"
    own = {"XDG_CACHE_HOME": str(tmp_path / "xdg"), "PYTHONPATH": os.getcwd()}
    pods = await lab.cluster.kubectl(
        "get", "pods", "-n", NAMESPACE, "-o", "name", kubeconfig=kubeconfig, environment=own
    )
    assert (pods.returncode, pods.stdout) == (0, f"pod/{POD}\n"), pods.stderr
    refused = await lab.cluster.kubectl("get", "pods", "-A", kubeconfig=kubeconfig, environment=own)
    assert 'User "oidc:bob@example.com" cannot list' in refused.stderr
