"""
Clocks: ours against those of the issuer, the API servers and the UIs, by the Date of their replies.

Edge by its calls. Tokens live for minutes, and an API server gives no leeway; so a clock is a cause of its own, and
comes before whatever it would spoil.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from oidcgate.doctor.calls import Way
from oidcgate.doctor.report import Said, fail, ok, warn
from oidcgate.doctor.scene import Scene, cluster_way
from oidcgate.doctor.stages import Unreached
from oidcgate.oidc.metadata import discovery_url

ODD: Final = 5.0  # seconds
WRONG: Final = 30.0
TICK: Final = 1.0  # second, the finest that Date can say


async def check_clocks(scene: Scene) -> list[Said]:
    """All clocks that can be seen; whoever does not answer is another hop's matter."""
    peers = peers_of(scene)
    seen = await asyncio.gather(*(_ahead(scene, url, way) for _, url, way in peers))
    return judge([(what, ahead) for (what, _, _), ahead in zip(peers, seen, strict=True) if ahead is not None])


def peers_of(scene: Scene) -> list[tuple[str, str, Way]]:
    """Whose clocks there are, and how they are asked."""
    peers: dict[str, tuple[str, str, Way]] = {}
    for issuer in scene.issuers:
        url = issuer.inside(discovery_url(issuer.section.issuer))
        peers[url] = (f"the issuer {issuer.section.issuer}", url, issuer.way)
    for visit in scene.visits:
        kubernetes = visit.config.kubernetes
        if kubernetes is not None:
            url = f"{kubernetes.api.rstrip('/')}/version"
            peers[url] = (f"the API server {kubernetes.api}", url, cluster_way(kubernetes))
        for url in visit.config.upstream.urls[:1]:
            address = "http://localhost/" if url.startswith("unix:") else f"{url.rstrip('/')}/"
            peers[url] = (f"the UI {url}", address, visit.upstream_way(url))
    return list(peers.values())


async def _ahead(scene: Scene, url: str, way: Way) -> float | None:
    try:
        return (await scene.caller.call(url, way)).ahead
    except Unreached:
        return None


def judge(seen: Sequence[tuple[str, float]]) -> list[Said]:
    """
    The findings about clocks.

    Args:
        seen: who, and how many seconds they are ahead of us.
    """
    apart = [(what, ahead) for what, ahead in seen if abs(ahead) > ODD + TICK]
    if not seen:
        return [ok("nobody's clock could be seen")]
    if not apart:
        return [ok(f"{len(seen)} clocks agree with this machine's")]
    offsets = [ahead for _, ahead in apart]
    if len(apart) == len(seen) > 1 and max(offsets) - min(offsets) <= ODD:
        return [_said("this machine", "all others", -offsets[0])]
    return [_said(what, "this machine", ahead) for what, ahead in apart]


def _said(what: str, whom: str, ahead: float) -> Said:
    kind = fail if abs(ahead) > WRONG + TICK else warn
    direction = "ahead of" if ahead > 0 else "behind"
    message = f"the clock of {what} is {abs(ahead):.0f} s {direction} that of {whom}"
    return kind(
        message, f"clock: {what}", "let NTP (chrony, systemd-timesyncd) set it; on a virtual machine, the host's too"
    )
