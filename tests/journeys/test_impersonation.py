"""The gate acts for people with a credential of its own: what a real API server makes of it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from oidcgate.kube.impersonation import NotImpersonated
from tests.journeys.test_kube_lab import EXEC, PODS, REVIEWS, V5, heard, terminal
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.issuer import ClusterStack
from tests.lab.kube.lab import CONTAINER, NAMESPACE, PREFIX, Lab, running_lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.browser import SCRIPT, Browser, Page
from tests.support.stack import Stack, merged
from tests.web.steps import look_again

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(BUILD_LIMIT),
]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "managed-clusters.md"
OURS = "system:serviceaccount:oidcgate:oidcgate"  # whom the guide's YAML makes
TOKENS = "/api/v1/namespaces/oidcgate/serviceaccounts/oidcgate/token"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
ALICE, BOB = f"{PREFIX}alice@example.com", f"{PREFIX}bob@example.com"
SEPARATORS = ("-", "_", ".", "--", "_-")
FORGED = {
    "Impersonate-User": ALICE,
    "Impersonate-Group": "system:masters",
    "Impersonate-Uid": "0",
    "Impersonate-Extra-Scopes": "everything",
    "X-Remote-User": "admin",
    "X-Remote-Group": "system:masters",
    "Authorization": f"Bearer {ADMIN}",
}
SPELLINGS = [
    pytest.param(
        {change(name.replace("-", separator)): value for name, value in FORGED.items()}, id=f"{case}{separator}"
    )
    for separator in SEPARATORS
    for case, change in (("as-is", str), ("lower", str.lower), ("upper", str.upper), ("swapped", str.swapcase))
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    """A cluster that takes no token of the gate's people, with what the guide tells its operator to apply."""
    async with running_lab(audiences=("somebody-else",)) as running:
        for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL):
            if "kind: ClusterRole" in block:  # the gate's rights, and a team's
                await running.cluster.apply(block)
        yield running


async def credential(lab: Lab) -> str:
    """A token of the gate's service account."""
    answer = await lab.cluster.request("POST", TOKENS, {"spec": {"expirationSeconds": 3600}})
    assert answer.status == 201, answer
    return str(answer.body["status"]["token"])


def put(file: Path, text: str) -> None:
    """A credential in a file that only its owner reads, another one than before."""
    fresh = file.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(text)
    fresh.replace(file)


@pytest_asyncio.fixture(loop_scope="session")
async def file(lab: Lab, tmp_path: Path) -> Path:
    """The gate's credential."""
    put(tmp_path / "credential", await credential(lab))
    return tmp_path / "credential"


def acting(lab: Lab, file: Path, **kubernetes: object) -> ClusterStack:
    """A gate that acts for people."""
    own = {
        "api": lab.cluster.url,
        "ca_file": lab.cluster.ca_file,
        "credential_file": str(file),
        "username_prefix": PREFIX,
        "groups_prefix": PREFIX,
    }
    return lab.stack(site={"identity": "impersonate", "kubernetes": merged(own, kubernetes)})


@pytest_asyncio.fixture(loop_scope="session")
async def stack(lab: Lab, file: Path) -> AsyncIterator[ClusterStack]:
    """A gate before it."""
    running = acting(lab, file)
    async with running:
        yield running


async def who(stack: Stack, browser: Browser, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Who the API server says that the browser's person is."""
    own = {**SCRIPT, "Origin": stack.url, "Content-Type": "application/json", **(headers or {})}
    page = await browser.send("POST", stack.url + REVIEWS, own, json.dumps(REVIEW).encode())
    assert page.status == 201, (page.status, page.text)
    found: dict[str, Any] = json.loads(page.text)["status"]["userInfo"]
    return found


def reason(page: Page) -> tuple[int, str]:
    """Status, and the API server's reason; empty for an answer of the gate's."""
    return page.status, str(json.loads(page.text).get("reason", ""))


# The credential alone


async def test_the_guide_s_rights_are_enough_and_nothing_else(lab: Lab) -> None:
    """The service account may impersonate people and groups; what is its own is refused."""
    own = await credential(lab)
    assert (await lab.cluster.request("POST", REVIEWS, REVIEW, token=own)).body["status"]["userInfo"][
        "username"
    ] == OURS
    for path in ("/api/v1/pods", PODS, "/api/v1/secrets", "/apis/rbac.authorization.k8s.io/v1/clusterroles"):
        assert (await lab.cluster.request("GET", path, token=own)).status == 403, path
    listed = await lab.cluster.kubectl("auth", "can-i", "--list", "--no-headers", token=own)
    verbs = {(line.split()[0], line.split()[-1]) for line in listed.stdout.splitlines() if "[impersonate]" in line}
    assert verbs == {("users", "[impersonate]"), ("groups", "[impersonate]")}
    beyond = await lab.cluster.kubectl("get", "pods", "--as=a", "--as-uid=1", token=own)
    assert "cannot impersonate" in beyond.stderr


async def test_the_cluster_takes_no_token_of_the_gate_s_people(lab: Lab) -> None:
    """So whatever works below, works by impersonation."""
    assert (await lab.cluster.request("GET", "/api/v1/pods", token=lab.issuer.id_token("alice"))).status == 401


# People


@pytest.mark.parametrize(
    ("login", "groups"),
    [
        ("alice", [f"{PREFIX}platform-admins", "system:authenticated"]),
        ("bob", [f"{PREFIX}team-shop", "system:authenticated"]),
        ("carol", ["system:authenticated"]),
    ],
)
async def test_who_people_are(stack: ClusterStack, login: str, groups: list[str]) -> None:
    """The API server sees the person, by name and groups."""
    user = await who(stack, await stack.browser(login))
    assert (user["username"], user["groups"]) == (f"{PREFIX}{login}@example.com", groups)
    assert "extra" not in user


@pytest.mark.parametrize(
    ("login", "everywhere", "there", "secrets"),
    [
        ("alice", (200, ""), (200, ""), (200, "")),
        ("bob", (403, "Forbidden"), (200, ""), (403, "Forbidden")),
        ("carol", (403, "Forbidden"), (403, "Forbidden"), (403, "Forbidden")),
    ],
)
async def test_rbac_decides(
    stack: ClusterStack, login: str, everywhere: tuple[int, str], there: tuple[int, str], secrets: tuple[int, str]
) -> None:
    """Each person may what their groups may, and not what the gate's credential may."""
    browser = await stack.browser(login)
    for path, expected in (
        ("/api/v1/pods", everywhere),
        (PODS, there),
        (f"/api/v1/namespaces/{NAMESPACE}/secrets", secrets),
    ):
        assert reason(await browser.fetch(stack.url + path)) == expected, path


async def test_nobody_without_a_session(stack: ClusterStack) -> None:
    """The gate's credential is for those who signed in."""
    for headers in ({}, FORGED):
        page = await Browser().send("GET", stack.url + PODS, {**SCRIPT, **headers})
        assert page.status == 401


# What clients say of themselves


@pytest.mark.parametrize("headers", SPELLINGS)
async def test_forged_headers_change_nothing(stack: ClusterStack, headers: dict[str, str]) -> None:
    """In no spelling: the API server sees bob, with his groups and nothing else."""
    bob = await stack.browser("bob")
    user = await who(stack, bob, headers)
    assert (user["username"], user["groups"]) == (BOB, [f"{PREFIX}team-shop", "system:authenticated"])
    assert "extra" not in user
    page = await bob.send("GET", f"{stack.url}/api/v1/pods", {**SCRIPT, **headers})
    assert reason(page) == (403, "Forbidden")


async def test_no_header_is_named_away(stack: ClusterStack) -> None:
    """A client cannot have the gate's own headers dropped as if they were for one hop."""
    bob = await stack.browser("bob")
    names = "Impersonate-User, Impersonate-Group, Authorization"
    page = await bob.send("GET", stack.url + PODS, {**SCRIPT, "Connection": f"close, {names}"})
    assert page.status == 400


@asynccontextmanager
async def forged_terminal(
    stack: ClusterStack, browser: Browser, headers: dict[str, str]
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A terminal by somebody who says more of themselves than is true, also where a token may ride."""
    url = f"{stack.url}{EXEC}?container={CONTAINER}&stdin=1&stdout=1&command=cat"
    token = "base64url.bearer.authorization.k8s.io.YWRtaW4tb2YtdGhlLWxhYg"  # the lab's admin
    own = {"Cookie": browser.cookie_header(url), **headers}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, protocols=(V5, token), origin=stack.url, headers=own) as socket:
            yield socket


@pytest.mark.parametrize("headers", SPELLINGS)
async def test_forged_headers_of_a_websocket_change_nothing(stack: ClusterStack, headers: dict[str, str]) -> None:
    """A viewer gets no terminal."""
    bob = await stack.browser("bob")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with forged_terminal(stack, bob, headers):
            pass
    assert refused.value.status == 403


async def test_terminal_as_the_person(lab: Lab, stack: ClusterStack) -> None:
    """Who may, types into it; neither cookie nor credential reaches the node."""
    alice = await stack.browser("alice")
    async with terminal(stack, alice, "sh", tty=True) as socket:
        assert await heard(socket, b"$ ") == b"$ "
        await socket.send_bytes(b"\x00echo here\r")
        assert await heard(socket, b"$ ") == b"echo here\r\nhere\r\n$ "
    assert not {"Authorization", "Cookie", "Impersonate-User"} & set(lab.kubelet.calls[-1].headers)
    async with forged_terminal(stack, alice, {"Impersonate-User": BOB}) as socket:
        assert socket.protocol == V5


# Names that are the cluster's own


async def test_a_person_of_the_cluster_s_own_name_is_refused(lab: Lab, file: Path) -> None:
    """Without a prefix an issuer could name parts of the cluster: the gate asks nothing in such a name."""
    quirks = lab.issuer.quirks
    quirks.claims = lambda claims: {**claims, "sub": "system:kube-controller-manager", "email_verified": False}
    try:
        async with acting(lab, file, username_prefix="") as stack:
            browser = await stack.browser("alice")
            page = await browser.fetch(f"{stack.url}/api/v1/secrets")
            assert reason(page) == (403, "")
            assert json.loads(page.text)["message"] == NotImpersonated.public
        async with acting(lab, file) as stack:
            user = await who(stack, await stack.browser("alice"))
            assert user["username"] == f"{PREFIX}system:kube-controller-manager"
            assert user["groups"] == [f"{PREFIX}platform-admins", "system:authenticated"]
    finally:
        quirks.claims = None


async def test_groups_of_the_cluster_s_own_are_left_out(lab: Lab, file: Path) -> None:
    """Whoever the issuer puts into system:masters has what the other groups give, unless the operator lists it."""
    quirks = lab.issuer.quirks
    quirks.claims = lambda claims: {**claims, "groups": ["system:masters", f"{PREFIX}team-shop"]}
    try:
        for listed, status in ((), 403), (("system:masters",), 200):
            async with acting(lab, file, groups_prefix="", system_groups=listed) as stack:
                browser = await stack.browser("bob")
                assert (await browser.fetch(stack.url + PODS)).status == 200
                assert (await browser.fetch(f"{stack.url}/api/v1/secrets")).status == status
    finally:
        quirks.claims = None


# The credential's file


async def test_a_new_credential_is_used_without_a_restart(lab: Lab, file: Path) -> None:
    """As the kubelet replaces it."""
    put(file, "of-yesterday")
    async with acting(lab, file) as stack:
        bob = await stack.browser("bob")
        assert reason(await bob.fetch(stack.url + PODS)) == (401, "Unauthorized")
        put(file, await credential(lab))
        look_again(stack)
        assert (await bob.fetch(stack.url + PODS)).status == 200


async def test_without_a_credential_nothing_is_asked(lab: Lab, file: Path) -> None:
    """503 until it is back; the person is still signed in then."""
    async with acting(lab, file) as stack:
        bob = await stack.browser("bob")
        file.unlink()
        look_again(stack)
        page = await bob.fetch(stack.url + PODS)
        assert reason(page) == (503, "")
        put(file, await credential(lab))
        assert (await bob.fetch(stack.url + PODS)).status == 200


async def test_extra(lab: Lab, file: Path) -> None:
    """What else the API server learns of the person, once the gate may say it; until then it says nothing at all."""
    async with acting(lab, file, extra={"example.com/mail": "{email}"}) as stack:
        browser = await stack.browser("alice")
        assert (await browser.fetch(f"{stack.url}/api/v1/pods")).status == 403
        rule = {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/example.com/mail"]}
        role = {"metadata": {"name": "says-mail"}, "rules": [{**rule, "verbs": ["impersonate"]}]}
        binding = {
            "metadata": {"name": "says-mail"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "says-mail"},
            "subjects": [{"kind": "ServiceAccount", "name": "oidcgate", "namespace": "oidcgate"}],
        }
        for kind, body in (("ClusterRole", role), ("ClusterRoleBinding", binding)):
            named = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, **body}
            path = f"/apis/rbac.authorization.k8s.io/v1/{kind.lower()}s"
            assert (await lab.cluster.request("POST", path, named)).status == 201
        async with asyncio.timeout(30):
            while (await browser.fetch(f"{stack.url}/api/v1/pods")).status != 200:
                await asyncio.sleep(0.1)  # the API server learns of a role by its own watch
        assert (await who(stack, browser))["extra"]["example.com/mail"] == ["alice@example.com"]
