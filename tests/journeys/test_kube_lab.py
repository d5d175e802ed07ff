"""A real API server that trusts the issuer: what it makes of people's tokens, by kubectl and through the gate."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio

from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.issuer import ClusterStack
from tests.lab.kube.lab import CONTAINER, NAMESPACE, POD, Lab, running_lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.lab.kubelet import Kubelet
from tests.support.browser import Browser
from tests.support.processes import program
from tests.support.raw import LIMIT, connect

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(BUILD_LIMIT),  # the first of them builds the programs
]
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
EXEC = f"{PODS}/{POD}/exec"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
CLIENT_WEBSOCKETS = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    """The control plane that these tests share."""
    async with running_lab(audiences=("gate", "kubectl")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def stack(lab: Lab) -> AsyncIterator[ClusterStack]:
    """A gate before it."""
    running = lab.stack()
    async with running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def older(lab: Lab) -> AsyncIterator[Kubelet]:
    """A node that does not declare websockets, with a pod of the same name as the node."""
    kubelet = Kubelet(lab.authority, name="older", websockets=False)
    await kubelet.start()
    await lab.cluster.join(kubelet)
    await lab.cluster.run_pod(kubelet, NAMESPACE, kubelet.name)
    yield kubelet
    await kubelet.stop()


# With kubectl, as somebody who has a token


async def test_the_token_endpoint_s_token_makes_somebody(lab: Lab) -> None:
    """Name and groups arrive in the API server, each with its prefix."""
    token = await lab.issuer.sign_in("alice")
    done = await lab.cluster.kubectl("auth", "whoami", "-o", "json", token=token)
    assert done.returncode == 0, done.stderr
    user = json.loads(done.stdout)["status"]["userInfo"]
    assert user["username"] == "oidc:alice@example.com"
    assert user["groups"] == ["oidc:platform-admins", "system:authenticated"]


async def test_kubectl_is_refused_in_the_api_server_s_words(lab: Lab) -> None:
    """Groups decide: the whole cluster for one, one namespace for the other."""
    bob = lab.issuer.id_token("bob")
    refused = await lab.cluster.kubectl("get", "pods", "-A", token=bob)
    assert refused.returncode == 1
    assert 'User "oidc:bob@example.com" cannot list resource "pods"' in refused.stderr
    allowed = await lab.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name", token=bob)
    assert (allowed.returncode, allowed.stdout) == (0, f"pod/{POD}\n")


@pytest.mark.parametrize(
    ("login", "client", "age", "status", "reason"),
    [
        ("alice", "gate", 0, 200, None),
        ("alice", "kubectl", 0, 200, None),
        ("bob", "gate", 0, 403, "Forbidden"),
        ("carol", "gate", 0, 403, "Forbidden"),
        ("alice", "somebody-else", 0, 401, "Unauthorized"),
        ("alice", "gate", 3600, 401, "Unauthorized"),
    ],
    ids=["may", "second-audience", "may-not", "no-groups", "other-audience", "expired"],
)
async def test_api_server_judges(lab: Lab, login: str, client: str, age: int, status: int, reason: str | None) -> None:
    """200, 403 and 401, each as a Status object."""
    token = lab.issuer.id_token(login, client, now=time.time() - age)
    answer = await lab.cluster.request("GET", "/api/v1/pods", token=token)
    assert (answer.status, answer.body.get("reason")) == (status, reason), answer.body


async def test_versions(lab: Lab) -> None:
    """What runs is what go.mod names, on both sides."""
    done = await lab.cluster.kubectl("version", "-o", "json")
    said = json.loads(done.stdout)
    wanted = lab.cluster.binaries.version
    assert (said["clientVersion"]["gitVersion"], said["serverVersion"]["gitVersion"]) == (wanted, wanted)


async def test_logs_come_from_the_kubelet(lab: Lab) -> None:
    """Which is asked by the API server in its own name, and never sees the person's token."""
    lab.kubelet.containers[NAMESPACE, POD, CONTAINER].say("one", "two")
    done = await lab.cluster.kubectl("logs", "-n", NAMESPACE, POD, "--tail=2", token=lab.issuer.id_token("bob"))
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n"), done.stderr
    call = lab.kubelet.calls[-1]
    assert (call.path, call.client) == (
        f"/containerLogs/{NAMESPACE}/{POD}/{CONTAINER}",
        "kube-apiserver-kubelet-client",
    )
    assert "Authorization" not in call.headers


async def test_exec_with_kubectl(lab: Lab) -> None:
    """Input, output, errors and the exit status cross kubectl, API server and kubelet; a viewer may not."""
    alice = lab.issuer.id_token("alice")
    run = ("exec", "-i", "-n", NAMESPACE, POD, "--")
    done = await lab.cluster.kubectl(*run, "cat", token=alice, stdin="hé\n")
    assert (done.returncode, done.stdout) == (0, "hé\n"), done.stderr
    done = await lab.cluster.kubectl(*run, "sh", token=alice, stdin="echo a b\nnonsense\nexit 3\n")
    assert (done.returncode, done.stdout) == (3, "a b\n")
    assert "nonsense: not found" in done.stderr
    refused = await lab.cluster.kubectl(*run, "cat", token=lab.issuer.id_token("bob"))
    assert 'cannot create resource "pods/exec"' in refused.stderr


@pytest.mark.parametrize(
    ("websockets", "node", "protocol"),
    [
        (True, "node-1", V5),
        (False, "node-1", f"SPDY/3.1+{V4}"),
        (True, "older", f"SPDY/3.1+{V4}"),
        (False, "older", f"SPDY/3.1+{V4}"),
    ],
)
async def test_what_reaches_the_kubelet(lab: Lab, older: Kubelet, websockets: bool, node: str, protocol: str) -> None:
    """A websocket goes through to a node that declares them, else as SPDY; SPDY stays what it is."""
    kubelet, pod = (older, older.name) if node == older.name else (lab.kubelet, POD)
    environment = {name: str(websockets).lower() for name in CLIENT_WEBSOCKETS}
    run = ("exec", "-i", "-n", NAMESPACE, pod, "--", "cat")
    done = await lab.cluster.kubectl(*run, stdin="hé\n", environment=environment)
    assert (done.returncode, done.stdout) == (0, "hé\n"), done.stderr
    assert kubelet.calls[-1].protocol == protocol

    server = await asyncio.start_server(shouting, "127.0.0.1", 0)
    kubelet.ports[8080] = server.sockets[0].getsockname()[1]
    command = lab.cluster.command("port-forward", "-n", NAMESPACE, pod, ":8080")
    own = {**lab.cluster.environment, **environment}
    async with server, program(*command, ready="Forwarding from 127.0.0.1", env=own) as (_, line):
        port = int(line.split()[2].rpartition(":")[2])
        for _ in range(2):
            wire = await connect(port)
            await wire.send(b"hello\n")
            assert await wire.rest() == b"HELLO\n"
            await wire.close()
    assert kubelet.calls[-1].protocol == "SPDY/3.1+portforward.k8s.io"
    await asyncio.wait_for(kubelet.calls[-1].ended.wait(), LIMIT)


async def test_attach_and_port_forward_as_pages_do(lab: Lab) -> None:
    """Both are handed to the kubelet as the websockets that they came as."""
    headers = {"Authorization": f"Bearer {lab.issuer.id_token('alice')}"}
    pod = f"{lab.cluster.url}{PODS}/{POD}"
    server = await asyncio.start_server(shouting, "127.0.0.1", 0)
    lab.kubelet.ports[8080] = server.sockets[0].getsockname()[1]
    connector = aiohttp.TCPConnector(ssl=lab.authority.client_context())
    async with server, aiohttp.ClientSession(connector=connector, headers=headers) as session:
        async with session.ws_connect(f"{pod}/attach?stdout=1", protocols=(V4,)) as socket:
            assert await heard(socket, b"") == b""
            lab.kubelet.containers[NAMESPACE, POD, CONTAINER].say("something")
            assert await heard(socket, b"\n") == b"something\n"
        async with session.ws_connect(f"{pod}/portforward?ports=8080", protocols=(V4,)) as socket:
            assert await heard(socket, b"\x90\x1f", channel=0) == b"\x90\x1f"
            await socket.send_bytes(b"\x00hello\n")
            assert await heard(socket, b"\n", channel=0) == b"HELLO\n"


async def shouting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server in a pod that answers one line."""
    writer.write((await reader.readline()).upper())
    writer.close()


async def test_apply(lab: Lab) -> None:
    """What is applied is there."""
    await lab.cluster.apply(
        f"""
        {{apiVersion: v1, kind: ConfigMap, metadata: {{name: applied, namespace: {NAMESPACE}}}, data: {{a: b}}}}
        """
    )
    answer = await lab.cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/applied")
    assert answer.body["data"] == {"a": "b"}


# Through the gate, as somebody who signed in


async def test_gate_lets_the_cluster_decide(stack: ClusterStack) -> None:
    """Each person is who they are to the API server, and may what they may there."""
    alice, bob = await stack.browser("alice"), await stack.browser("bob")
    review = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
    for browser, name in ((alice, "alice"), (bob, "bob")):
        page = await browser.fetch(stack.url + REVIEWS, "POST", review, Content_Type="application/json")
        assert json.loads(page.text)["status"]["userInfo"]["username"] == f"oidc:{name}@example.com"
    assert (await alice.fetch(f"{stack.url}/api/v1/pods")).status == 200
    refused = await bob.fetch(f"{stack.url}/api/v1/pods")
    assert (refused.status, json.loads(refused.text)["reason"]) == (403, "Forbidden")
    assert (await bob.fetch(stack.url + PODS)).status == 200
    assert (await Browser().fetch(stack.url + PODS)).status == 401


@asynccontextmanager
async def watching(stack: ClusterStack, browser: Browser, target: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A reply through the gate that goes on."""
    url = stack.url + target
    headers = {"Cookie": browser.cookie_header(url), "Sec-Fetch-Site": "same-origin"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        assert reply.status == 200
        yield reply


async def line_of(reply: aiohttp.ClientResponse) -> str:
    """The next line."""
    return (await asyncio.wait_for(reply.content.readline(), LIMIT)).decode()


async def test_watch_through_the_gate(lab: Lab, stack: ClusterStack) -> None:
    """An event is there when it happens."""
    bob = await stack.browser("bob")
    target = f"{PODS}?watch=1&fieldSelector=metadata.name%3Dlate"
    async with watching(stack, bob, target) as reply:
        await lab.cluster.run_pod(lab.kubelet, NAMESPACE, "late")
        event = json.loads(await line_of(reply))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "late")
        assert json.loads(await line_of(reply))["object"]["status"]["phase"] == "Running"


async def test_followed_log_through_the_gate(lab: Lab, stack: ClusterStack) -> None:
    """A line is there when it is said, from the kubelet to the browser; the kubelet sees the browser go."""
    bob = await stack.browser("bob")
    container = lab.kubelet.containers[NAMESPACE, POD, CONTAINER]
    container.say("before")
    async with watching(stack, bob, f"{PODS}/{POD}/log?follow=true&tailLines=1") as reply:
        assert await line_of(reply) == "before\n"
        container.say("after")
        assert await line_of(reply) == "after\n"
        call = lab.kubelet.calls[-1]
        assert not call.ended.is_set()
    await asyncio.wait_for(call.ended.wait(), LIMIT)


@asynccontextmanager
async def terminal(
    stack: ClusterStack, browser: Browser, *command: str, protocol: str = V5, tty: bool = False
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A websocket as a page on the site opens it."""
    options = [("container", CONTAINER), ("stdin", "1"), ("stdout", "1"), ("stderr", str(int(not tty)))]
    asks = urlencode([*options, ("tty", str(int(tty))), *(("command", word) for word in command)])
    url = f"{stack.url}{EXEC}?{asks}"
    async with aiohttp.ClientSession() as session:
        headers = {"Cookie": browser.cookie_header(url)}
        async with session.ws_connect(url, protocols=(protocol,), origin=stack.url, headers=headers) as socket:
            yield socket


async def heard(socket: aiohttp.ClientWebSocketResponse, ending: bytes, channel: int = 1) -> bytes:
    """What one channel says, up to and with this."""
    said = b""
    async with asyncio.timeout(LIMIT):
        while not said.endswith(ending):
            message = await socket.receive_bytes()
            said += message[1:] if message[0] == channel else b""
    return said


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_terminal_through_the_gate(lab: Lab, stack: ClusterStack, protocol: str) -> None:
    """A shell with a window, typed lines and an exit status, over either protocol of exec."""
    alice = await stack.browser("alice")
    async with terminal(stack, alice, "sh", protocol=protocol, tty=True) as socket:
        assert socket.protocol == protocol
        assert await heard(socket, b"$ ") == b"$ "
        await socket.send_bytes(b"\x04" + json.dumps({"Width": 120, "Height": 40}).encode())
        await socket.send_bytes(b"\x00echo h\xc3\xa9\r")
        assert await heard(socket, b"$ ") == b"echo h\xc3\xa9\r\nh\xc3\xa9\r\n$ "
        await socket.send_bytes(b"\x00exit 7\r")
        status = json.loads(await heard(socket, b"}", channel=3))
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert lab.kubelet.terminals[-1].sizes == [{"Width": 120, "Height": 40}]
    call = lab.kubelet.calls[-1]
    assert call.protocol == protocol
    assert not {"Authorization", "Cookie"} & set(call.headers)


async def test_viewer_gets_no_terminal(stack: ClusterStack) -> None:
    """The API server's refusal of a websocket reaches the browser."""
    bob = await stack.browser("bob")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with terminal(stack, bob, "sh"):
            pass
    assert refused.value.status == 403


async def test_sign_out_ends_the_terminal_at_the_kubelet(lab: Lab, stack: ClusterStack) -> None:
    """Signing out closes what runs, through to the node."""
    alice = await stack.browser("alice")
    async with terminal(stack, alice, "cat") as socket:
        await socket.send_bytes(b"\x00here\n")
        assert await heard(socket, b"here\n") == b"here\n"
        call = lab.kubelet.calls[-1]
        page = await alice.open(f"{stack.url}/oauth2/sign_out")
        await alice.submit(page)
        message = await asyncio.wait_for(socket.receive(), LIMIT)
        assert message.type is aiohttp.WSMsgType.CLOSE
        await asyncio.wait_for(call.ended.wait(), LIMIT)


async def test_admin_of_the_lab_is_not_somebody_of_the_gate(stack: ClusterStack) -> None:
    """A bearer that a client brings along is not passed on."""
    page = await Browser().fetch(f"{stack.url}/api/v1/pods", Authorization=f"Bearer {ADMIN}")
    assert page.status == 401
