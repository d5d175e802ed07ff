"""
The Kubernetes Dashboard, 2.7 and 7.x.

Pure: data only. Both send scripts to ``api/v1`` and shells over SockJS, whose session id is a bearer secret. Both show
a login page of their own when one small question about who somebody is goes wrong once.
"""

from oidcgate.proxy.ui.preset import Preset

DASHBOARD_2 = Preset(
    name="dashboard-2",
    api_paths=("/api/",),
    # The first makes the client renew what is no login any more; the others say who was signed in, and how. Its
    # language (``lang``) is left alone: the server chooses the page by it.
    token_cookies=("jweToken", "username", "skipLoginPage", "authMode"),
    may_ignore_bearer=True,
    # Exactly this text makes the 2.7 client drop its own token and say that the login ran out.
    unauthorized=b"MSG_TOKEN_EXPIRED_ERROR",
    unauthorized_type="text/plain",
    # An error here sends the client into an endless ping-pong between two guards.
    answered={
        "/api/v1/login/status": b'{"tokenPresent":false,"headerPresent":false,"httpsMode":true,'
        b'"impersonationPresent":false,"impersonatedUser":""}',
    },
    meanwhile={
        "/api/v1/login/status": b'{"tokenPresent":false,"headerPresent":true,"httpsMode":true,'
        b'"impersonationPresent":false,"impersonatedUser":""}',
    },
    tried_again=("/api/v1/login/status",),
)

DASHBOARD_7 = Preset(
    name="dashboard-7",
    api_paths=("/api/", "/metrics", "/settings"),
    token_cookies=("token", "jweToken"),
    unauthorized=b"MSG_LOGIN_UNAUTHORIZED_ERROR",
    unauthorized_type="text/plain",
    # Asked every 30 s; after one failure the client never asks again, and shows its token form at the next turn.
    meanwhile={"/api/v1/me": b'{"authenticated":true}'},
    tried_again=("/api/v1/me",),
)
