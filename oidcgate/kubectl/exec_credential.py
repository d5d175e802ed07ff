"""
What kubectl says to a credential plugin, and what it wants to hear.

Pure.

- ``KUBERNETES_EXEC_INFO`` holds an ExecCredential without a status; the answer is one of the same version with it.
- The token's end is told a minute early: kubectl uses a token up to the second that it is told.

Sources: client.authentication.k8s.io/v1; k8s.io/client-go plugin/pkg/client/auth/exec.
"""

import json
from datetime import UTC, datetime

from oidcgate.kubectl.account import CredentialError
from oidcgate.oidc.strictjson import loads_object

API_VERSION = "client.authentication.k8s.io/v1"
KIND = "ExecCredential"
MARGIN = 60.0  # seconds before a token's exp at which it counts as used up
_MAX_INFO = 1024 * 1024  # bytes; kubectl may put a cluster's CA into it


def check_exec_info(text: str | None) -> None:
    """
    Look at ``KUBERNETES_EXEC_INFO``; None or empty means that a person called, not kubectl.

    Raises:
        CredentialError: it is of another version, or broken.
    """
    if not text:
        return
    try:
        info = loads_object(text.encode(), max_bytes=_MAX_INFO)
    except ValueError as error:
        raise CredentialError(f"KUBERNETES_EXEC_INFO cannot be read ({error}); is it kubectl that called?") from None
    version = info.get("apiVersion")
    if version != API_VERSION or info.get("kind") != KIND:
        raise CredentialError(
            f"kubectl asks in the words of {str(version)[:80]!r}; set `apiVersion: {API_VERSION}` in the kubeconfig's "
            "exec section, and use kubectl 1.22 or newer"
        )


def used_up(issued: float, expires: float) -> float:
    """When a token counts as used up, in seconds since 1970: a minute early, or at half of a very short life."""
    return expires - min(MARGIN, (expires - issued) / 2)


def exec_credential(token: str, *, until: float) -> str:
    """The answer, on one line; ``until`` is when kubectl is to ask again, in seconds since 1970."""
    when = datetime.fromtimestamp(int(until), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "status": {"token": token, "expirationTimestamp": when},
    }
    return json.dumps(answer)
