"""
Headlamp.

Pure: data only. Its own login cookie would win over the bearer that comes along, so it passes in neither direction; its
name holds the cluster's and a number. Its calls go below ``/clusters/<name>/``, its websockets
to ``/wsMultiplexer``.
"""

from oidcgate.proxy.ui.preset import Preset

HEADLAMP = Preset(
    name="headlamp",
    api_paths=("/clusters/", "/wsMultiplexer", "/config", "/plugins", "/drain-node", "/portforward"),
    token_cookies=("headlamp-auth-*",),
    secret_paths=(),
    identity_headers=("x-forwarded",),  # its --proxy-auth names; the token header wins over a cookie of its own
    no_passage=(),
)
