"""
How the two programs of a control plane are told what to do: their flags, whom to believe, and how they end.

Three ports in a row are taken: the API server's, etcd's, and one for etcd's peers, of which there are none.
"""

import asyncio
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.kube.authority import Authority
from tests.lab.kube.programs import Binaries

PORTS = 3
ADMIN = "admin-of-the-lab"  # the token of somebody in system:masters
END_LIMIT = 5.0  # seconds that are left to requests under way


@dataclass(frozen=True)
class Trust:
    """
    Whom the API server believes, and what it calls people.

    Args:
        issuer: an https address.
        ca: the PEM of who signed the issuer's certificate.
        audiences: any of these will do.
        username_claim, groups_claim: claims; username_prefix, groups_prefix: put before their values.
    """

    issuer: str
    ca: str
    audiences: tuple[str, ...] = ("gate",)
    username_claim: str = "email"
    username_prefix: str = ""
    groups_claim: str = "groups"
    groups_prefix: str = ""

    def authenticator(self) -> dict[str, Any]:
        """One entry of ``jwt`` in an AuthenticationConfiguration."""
        match = {"audienceMatchPolicy": "MatchAny"} if len(self.audiences) > 1 else {}
        return {
            "issuer": {
                "url": self.issuer,
                "certificateAuthority": self.ca,
                "audiences": list(self.audiences),
                **match,
            },
            "claimMappings": {
                "username": {"claim": self.username_claim, "prefix": self.username_prefix},
                "groups": {"claim": self.groups_claim, "prefix": self.groups_prefix},
            },
        }


def etcd(binaries: Binaries, folder: Path, port: int) -> list[str]:
    """The command; ``port`` is the first of the three."""
    client, peer = (f"http://127.0.0.1:{number}" for number in (port + 1, port + 2))
    flags = {
        "data-dir": folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",  # what is lost in a power cut is lost anyway
    }
    return [str(binaries.etcd), *_spelled(flags)]


def apiserver(
    binaries: Binaries, folder: Path, port: int, *, authority: Authority, trusts: tuple[Trust, ...]
) -> list[str]:
    """The command; ``port`` is the first of the three."""
    server_cert, server_key = authority.issue("kube-apiserver")
    client_cert, client_key = authority.issue("kube-apiserver-kubelet-client", "system:masters")
    accounts_cert, accounts_key = authority.issue("service-accounts")
    flags = {
        "etcd-servers": f"http://127.0.0.1:{port + 1}",
        "secure-port": port,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",  # it takes no loopback address
        "service-cluster-ip-range": "10.0.0.0/24",
        "tls-cert-file": server_cert,
        "tls-private-key-file": server_key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": accounts_cert,
        "service-account-signing-key-file": accounts_key,
        "authorization-mode": "RBAC",
        "authentication-config": _written(folder / "authentication.yaml", authentication(trusts)),
        "token-auth-file": _written(folder / "tokens.csv", f'{ADMIN},admin,admin,"system:masters"\n'),
        "disable-admission-plugins": "ServiceAccount",  # nobody makes the accounts that it would ask for
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-certificate-authority": authority.ca_file,
        "kubelet-client-certificate": client_cert,
        "kubelet-client-key": client_key,
    }
    return [str(binaries.apiserver), *_spelled(flags)]


def authentication(trusts: tuple[Trust, ...]) -> str:
    """The AuthenticationConfiguration, which is GA since 1.34."""
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [trust.authenticator() for trust in trusts],
    }
    return str(yaml.safe_dump(document))


def _spelled(flags: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _written(file: Path, text: str) -> Path:
    file.touch(0o600)
    file.write_text(text)
    return file


@asynccontextmanager
async def program(folder: Path, *command: str) -> AsyncIterator[Process]:
    """A program that runs in a folder, with a log there; ended by SIGTERM, or else by SIGKILL."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=STDOUT, cwd=folder)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_LIMIT)
            except TimeoutError:
                process.kill()
                await process.wait()
