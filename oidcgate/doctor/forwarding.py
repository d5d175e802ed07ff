"""
Forward auth: other proxies carry the requests and ask; who they are, and whether what they are told fits.

Pure.
"""

import ipaddress
from typing import Final

from oidcgate.doctor.report import Said, ok, warn
from oidcgate.doctor.scene import Scene
from oidcgate.web.identity import WARN_TOKEN

WIDE: Final = {4: 16, 6: 48}  # prefix lengths below which a network holds more than proxies


async def check_peers(scene: Scene) -> list[Said]:
    """The proxies that are believed."""
    peers = [ipaddress.ip_network(peer) for peer in scene.config.forward_auth.peers]
    if not peers:
        return [ok("no other proxy asks")]
    said: list[Said] = []
    wide = [str(peer) for peer in peers if peer.prefixlen < WIDE[peer.version]]
    if wide:
        todo = "name the proxies' own addresses: whoever has one of these can get people's tokens"
        said.append(warn(f"{', '.join(wide)} holds more than proxies", "forward_auth.peers", todo))
    bearer = scene.bearer
    if bearer is not None and len(bearer.raw) > WARN_TOKEN and "authorization" in scene.config.forward_auth.headers:
        todo = "raise proxy_buffer_size at the proxy, or leave out authorization where the UI needs no token"
        said.append(
            warn(
                f"an answer with a token of {len(bearer.raw)} bytes is too large for nginx",
                "forward_auth.headers",
                todo,
            )
        )
    return said or [ok(f"{', '.join(map(str, peers))} may ask")]
