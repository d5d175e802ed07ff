"""All of it: an authority, an issuer, a control plane that trusts it, a node, and people's rights."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.cluster import Cluster
from tests.lab.kube.authority import Authority
from tests.lab.kube.control_plane import Trust
from tests.lab.kube.issuer import ClusterStack, LabIssuer
from tests.lab.kubelet import Kubelet
from tests.support.stack import CLIENT, merged

PREFIX = "oidc:"  # before the names of people and groups
NAMESPACE, POD, CONTAINER = "shop", "cart", "main"


@dataclass
class Lab:
    """What runs; alice's group may do everything, bob's may look at one namespace, carol has no rights."""

    authority: Authority
    issuer: LabIssuer
    cluster: Cluster
    kubelet: Kubelet

    def stack(self, *, site: dict[str, object] | None = None, config: dict[str, object] | None = None) -> ClusterStack:
        """A gate before the API server."""
        upstream = {"upstream": {"ca_file": self.cluster.ca_file}}
        return ClusterStack(self.issuer, upstream=self.cluster.url, site=merged(upstream, site or {}), config=config)


@asynccontextmanager
async def running_lab(*, audiences: tuple[str, ...] = (CLIENT,), flags: Iterable[str] = ()) -> AsyncIterator[Lab]:
    """The lab, for as long as it is needed: its issuer and its kubelet live on the loop that this runs on."""
    with TemporaryDirectory(prefix="oidcgate-lab-") as folder:
        authority = Authority(Path(folder))
        issuer, kubelet = LabIssuer(authority), Kubelet(authority)
        await issuer.start()
        await kubelet.start()
        trust = Trust(issuer.url, authority.pem, audiences, username_prefix=PREFIX, groups_prefix=PREFIX)
        try:
            async with Cluster(trust, authority=authority, flags=flags) as cluster:
                await cluster.join(kubelet)
                await cluster.run_pod(kubelet, NAMESPACE, POD, CONTAINER)
                await cluster.bind(f"{PREFIX}platform-admins", "cluster-admin")
                await cluster.bind(f"{PREFIX}team-shop", "view", NAMESPACE)
                yield Lab(authority, issuer, cluster, kubelet)
        finally:
            await kubelet.stop()
            await issuer.close()
