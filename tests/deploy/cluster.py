"""
The lab's real API server with the custom resources that the manifests use, shared by the tests of this folder.

Nothing runs there: what it says is whether it takes the objects, with every field known to it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.deploy import crds
from tests.deploy.manifests import Document, as_stream
from tests.lab.kube.lab import Lab, running_lab


@asynccontextmanager
async def lab_with_crds() -> AsyncIterator[Lab]:
    """
    The lab; a Helm of one's own takes `lab.cluster.kubeconfig(ADMIN)`.

    Raises:
        RuntimeError: the definitions were refused, or are not served.
    """
    async with running_lab() as lab:
        cluster = lab.cluster
        done = await cluster.kubectl("create", "-f", str(crds.folder()))
        if done.returncode:
            raise RuntimeError(done.stderr)
        waited = await cluster.kubectl("wait", "--for=condition=established", "--timeout=20s", "crd", "--all")
        if waited.returncode:
            raise RuntimeError(waited.stderr)
        yield lab


async def dry_run(lab: Lab, documents: list[Document], namespace: str = "default") -> str:
    """
    What the API server says of documents that it does not keep; unknown and doubled fields are refused.

    Raises:
        AssertionError: it takes one of them not; quotes it.
    """
    args = ["apply", "--dry-run=server", "--validate=strict", "--namespace", namespace, "-f", "-"]
    done = await lab.cluster.kubectl(*args, stdin=as_stream(documents))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
