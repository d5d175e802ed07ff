"""What lies on the desk when somebody begins with a page: the files that the page itself shows, or speaks of."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.docs.desk import Desk
from tests.docs.fragments import whole
from tests.docs.pages import yaml_blocks
from tests.lab.cluster import Cluster

SITE = "https://ui.example.com"
OAUTH2_PROXY = """
provider = "oidc"
oidc_issuer_url = "https://dex.example.com"
client_id = "gate"
redirect_url = "https://ui.example.com/oauth2/callback"
upstreams = ["static://202"]
email_domains = ["*"]
reverse_proxy = true
"""
DEPLOYMENT = """
apiVersion: v1
kind: Namespace
metadata: {name: login}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: oauth2-proxy, namespace: login}
spec:
  selector: {matchLabels: {app: oauth2-proxy}}
  template:
    metadata: {labels: {app: oauth2-proxy}}
    spec:
      containers:
        - name: oauth2-proxy
          image: oauth2-proxy
          args: [--http-address=0.0.0.0:4180, --client-secret-file=/run/secrets/client-secret]
"""


def configuration_of(page: str) -> dict[str, Any]:
    """The first configuration that a page shows, made whole."""
    for _, documents in yaml_blocks(page):
        for document in documents:
            if isinstance(document, dict) and "sites" in document:
                return whole(document)
    raise AssertionError(f"{page} shows no configuration")


async def shown(page: str, desk: Desk, _: Cluster) -> None:
    """The page's own configuration."""
    desk.configuration(configuration_of(page))


async def kubectl(page: str, desk: Desk, _: Cluster) -> None:
    """Its configuration, and the API server's CA that it names."""
    document = configuration_of(page)
    for site in document["sites"]:
        site["kubernetes"]["ca_file"] = "one-ca.pem"
    (desk.folder / "one-ca.pem").write_text(desk.authority)
    desk.configuration(document)


async def moving(_: str, desk: Desk, cluster: Cluster) -> None:
    """An oauth2-proxy that runs in the cluster, and its file."""
    await cluster.apply(desk.real(DEPLOYMENT))
    (desk.folder / "oauth2-proxy.cfg").write_text(desk.real(OAUTH2_PROXY))


async def running(_: str, desk: Desk, __: Cluster) -> None:
    """A gate that runs."""
    desk.configuration(whole({}))
    await desk.start("oidcgate serve --config gate.yaml", "listening on ")


Prepare = Callable[[str, Desk, Cluster], Awaitable[None]]
DESKS: dict[str, Prepare] = {
    "README.md": shown,
    "docs/quick-start.md": shown,
    "docs/forward-auth.md": shown,
    "docs/kubectl.md": kubectl,
    "docs/migration-from-oauth2-proxy.md": moving,
    "docs/monitoring.md": running,
    "docs/operations.md": running,
}
