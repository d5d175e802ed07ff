"""
The Kubernetes Dashboard, 2.7 and 7.x.

Pure: data only. Both send scripts to ``api/v1`` and shells over SockJS, whose session id is a bearer secret.
"""

from oidcgate.proxy.ui.preset import Preset

DASHBOARD_2 = Preset(
    name="dashboard-2",
    api_paths=("/api/",),
    token_cookies=("jweToken",),
    may_ignore_bearer=True,
    # Exactly this text makes the 2.7 client drop its own token and say that the login ran out.
    unauthorized=b"MSG_TOKEN_EXPIRED_ERROR",
    unauthorized_type="text/plain",
    # An error here sends the client into an endless ping-pong between two guards.
    answered={
        "/api/v1/login/status": b'{"tokenPresent":false,"headerPresent":false,"httpsMode":true,'
        b'"impersonationPresent":false,"impersonatedUser":""}',
    },
)

DASHBOARD_7 = Preset(
    name="dashboard-7",
    api_paths=("/api/", "/metrics"),
    token_cookies=("token", "jweToken"),
    unauthorized=b"MSG_LOGIN_UNAUTHORIZED_ERROR",
    unauthorized_type="text/plain",
)
