"""
A real control plane on loopback: etcd, kube-apiserver and kubectl, in a folder of its own.

Nothing runs but these two programs: no controller manager (what is deleted in the foreground stays, service accounts
have no tokens, nothing is garbage collected), no scheduler and no kubelet. `Cluster.join` registers a `Kubelet` double as a node; pods are bound to
it by hand. Starting takes some seconds, so tests share one, and take a namespace each.
"""

import asyncio
import json
import os
import subprocess
import tempfile
from asyncio.subprocess import Process
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.kube.authority import Authority
from tests.lab.kube.control_plane import ADMIN, PORTS, Trust, apiserver, etcd, program
from tests.lab.kube.programs import Binaries, built
from tests.lab.kubelet import Kubelet
from tests.support.processes import LIMIT, free_ports

READY_LIMIT = 120.0  # seconds; about three on an idle machine
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
AGGREGATED = ("view", "edit", "admin")


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: Any


class Cluster:
    """
    The control plane, from `__aenter__` to `__aexit__`.

    Args:
        trusts: the issuers, each with another address.
        authority: who signs the certificates.
        flags: more of kube-apiserver's flags.

    Attributes:
        folder: where everything is, the programs' logs too.
    """

    def __init__(self, *trusts: Trust, authority: Authority, flags: Iterable[str] = ()) -> None:
        self.trusts = trusts
        self.authority = authority
        self.flags = tuple(flags)
        self.binaries: Binaries = built()
        self.port = 0
        self._running = AsyncExitStack()
        self._kubeconfigs: dict[str, Path] = {}

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        """Who signed the API server's certificate."""
        return str(self.authority.ca_file)

    async def __aenter__(self) -> "Cluster":
        async with AsyncExitStack() as running:
            self.folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="oidcgate-kube-")))
            connector = aiohttp.TCPConnector(ssl=self.authority.client_context())
            self._session = await running.enter_async_context(aiohttp.ClientSession(connector=connector))
            self.port = free_ports(PORTS)
            await self._until_ready(
                *[await running.enter_async_context(program(self.folder, *command)) for command in self._commands()]
            )
            await self._aggregate()
            self._running = running.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    # Talking to it

    async def request(
        self, method: str, path: str, body: object = None, *, token: str = ADMIN, merge: bool = False
    ) -> Answer:
        """One request to the API server, as the admin unless told otherwise; ``merge`` sends a merge patch."""
        headers = {"Authorization": f"Bearer {token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if merge else "application/json"
            data = json.dumps(body)
        async with self._session.request(method, self.url + path, data=data, headers=headers) as reply:
            text = await reply.text()
            is_json = reply.content_type == "application/json"
            return Answer(reply.status, json.loads(text) if is_json else text)

    async def kubectl(
        self,
        *args: str,
        token: str = ADMIN,
        kubeconfig: Path | str | None = None,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """
        Run the real kubectl, as the admin unless told otherwise, away from the user's own configuration.

        Args:
            kubeconfig: a file to use in place of a token.
            stdin: what it reads; None closes it.
        """
        return await asyncio.to_thread(
            subprocess.run,
            self.command(*args, token=token, kubeconfig=kubeconfig),
            input=stdin or "",
            capture_output=True,
            text=True,
            env={**self.environment, **(environment or {})},
            timeout=LIMIT,
        )

    def command(self, *args: str, token: str = ADMIN, kubeconfig: Path | str | None = None) -> list[str]:
        """kubectl with a kubeconfig, for those who run it themselves, in `environment`."""
        return [str(self.binaries.kubectl), f"--kubeconfig={kubeconfig or self.kubeconfig(token)}", *args]

    @property
    def environment(self) -> dict[str, str]:
        """Away from the user's own configuration."""
        return {"HOME": str(self.folder), "PATH": os.environ.get("PATH", "")}

    def kubeconfig(self, token: str) -> Path:
        """A file that names this cluster and somebody's token."""
        if token not in self._kubeconfigs:
            file = self.folder / f"kubeconfig-{len(self._kubeconfigs)}.yaml"
            file.touch(0o600)
            file.write_text(json.dumps(self.kubeconfig_for({"token": token})))
            self._kubeconfigs[token] = file
        return self._kubeconfigs[token]

    def kubeconfig_for(self, user: object) -> dict[str, Any]:
        """A kubeconfig with this cluster and a user's entry, such as ``{"exec": {...}}``."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": self.url, "certificate-authority": self.ca_file}}],
            "users": [{"name": "somebody", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "somebody"}}],
            "current-context": "lab",
        }

    async def apply(self, text: str) -> None:
        """
        What `kubectl apply` does, as the admin.

        Raises:
            RuntimeError: it could not; quotes what it said.
        """
        done = await self.kubectl("apply", "-f", "-", stdin=text)
        if done.returncode:
            raise RuntimeError(f"kubectl apply: {done.stderr}")

    # What is in it

    async def create(self, path: str, body: dict[str, Any]) -> None:
        """
        Create an object below a path, such as /api/v1/namespaces; one that is there already will do.

        Raises:
            RuntimeError: it could not.
        """
        answer = await self.request("POST", path, body)
        if answer.status not in (201, 409):
            raise RuntimeError(f"{path}: {answer}")

    async def bind(self, group: str, role: str, namespace: str | None = None) -> None:
        """Give a group (prefix included) a ClusterRole: everywhere, or in one namespace, which is made if need be."""
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        below = f"/apis/rbac.authorization.k8s.io/v1/{f'namespaces/{namespace}/' if namespace else ''}{kind.lower()}s"
        if namespace:
            await self.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        group_api = "rbac.authorization.k8s.io"
        body = {
            "metadata": {"name": f"{group}-{role}".replace(":", "-")},
            "roleRef": {"apiGroup": group_api, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group_api, "kind": "Group", "name": group}],
        }
        await self.create(below, body)

    async def join(self, kubelet: Kubelet) -> None:
        """Register a kubelet, which has been started, as a node."""
        await self.create("/api/v1/nodes", {"metadata": {"name": kubelet.name}})
        await self._set_status(f"/api/v1/nodes/{kubelet.name}", kubelet.node_status())

    async def run_pod(self, kubelet: Kubelet, namespace: str, name: str, *containers: str) -> None:
        """Create a pod that is bound to a kubelet and said to run; the namespace is made if need be."""
        named = containers or ("main",)
        await self.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        body = {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "nodeName": kubelet.name,
                "containers": [{"name": container, "image": "lab/nothing:1"} for container in named],
            },
        }
        await self.create(f"/api/v1/namespaces/{namespace}/pods", body)
        await self._set_status(f"/api/v1/namespaces/{namespace}/pods/{name}", kubelet.run(namespace, name, *named))

    async def _set_status(self, path: str, status: dict[str, Any]) -> None:
        answer = await self.request("PATCH", f"{path}/status", {"status": status}, merge=True)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer}")

    # Starting it

    async def _aggregate(self) -> None:
        """Put the rules into the roles that gather those of others, as a controller manager would."""
        for role in AGGREGATED:  # each is part of the next
            everybody = (await self.request("GET", ROLES)).body["items"]
            label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
            rules = [rule for one in everybody if label in one["metadata"].get("labels", {}) for rule in one["rules"]]
            answer = await self.request("PATCH", f"{ROLES}/{role}", {"rules": rules}, merge=True)
            if answer.status != 200:
                raise RuntimeError(f"{role}: {answer}")

    def _commands(self) -> tuple[list[str], list[str]]:
        where = self.binaries, self.folder, self.port
        return etcd(*where), [*apiserver(*where, authority=self.authority, trusts=self.trusts), *self.flags]

    async def _until_ready(self, *programs: Process) -> None:
        said: object = None
        with suppress(TimeoutError):
            async with asyncio.timeout(READY_LIMIT):
                while all(process.returncode is None for process in programs):
                    try:
                        answer = await self.request("GET", "/readyz?verbose")
                    except aiohttp.ClientConnectionError as error:
                        said = error
                    else:
                        if answer.status == 200:
                            return
                        said = answer.body
                    await asyncio.sleep(0.05)
        logs = [log.read_text(errors="replace")[-3000:] for log in sorted(self.folder.glob("*.log"))]
        raise RuntimeError("\n".join((f"the control plane does not get ready: {said}", *logs)))
