"""
Headlamp.

Pure: data only. Its own login cookie would win over the bearer that comes along, so it passes in neither direction; its
name holds the cluster's and a number, and its Path the cluster's, so that no answer of ours could expire it: what
counts is that it never arrives. Its calls go below ``/clusters/<name>/``, its websockets to ``/wsMultiplexer``.
"""

from oidcgate.proxy.ui.preset import Preset

HEADLAMP = Preset(
    name="headlamp",
    api_paths=("/clusters/", "/wsMultiplexer", "/config", "/plugins", "/drain-node", "/portforward"),
    token_cookies=("headlamp-auth-*",),
    secret_paths=(),
    identity_headers=("x-forwarded",),  # its --proxy-auth names; the token header wins over a cookie of its own
    no_passage=(),
    # Before the first page it tries what it may do. Any failure but 408, 502 and 504 brings its token form.
    outage_status=504,
)
