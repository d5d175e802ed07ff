"""
Headlamp.

Pure: data only. Its calls go below ``/clusters/<name>/`` and its websockets to ``/wsMultiplexer``.
"""

from oidcgate.proxy.ui.preset import Preset

HEADLAMP = Preset(
    name="headlamp",
    api_paths=("/clusters/", "/wsMultiplexer", "/config", "/plugins", "/drain-node", "/portforward"),
    secret_paths=(),
    no_passage=(),
)
