"""
Tells the supervisor that started us how we are.

Edge: the datagram socket of sd_notify(3). Without one in the environment nothing is told, and one that does not listen
is no reason to fail.
"""

import contextlib
import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell_supervisor(state: str, environment: str = "NOTIFY_SOCKET") -> None:
    """
    Say how we are.

    Args:
        state: an assignment of sd_notify(3).
        environment: the variable that names the socket; a leading ``@`` stands for Linux's abstract namespace.
    """
    path = os.environ.get(environment, "")
    if not path.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
