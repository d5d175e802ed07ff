"""
Which requests act inside the cluster so that somebody may ask about it later: commands in pods, and secrets.

Pure. One table for every UI and for the API server itself: paths are told by their end, so that what a UI puts before
them does not matter. Rules of this file:
- What any server may take for an action is one (``policy.readings``): one too many costs a line, one too few hides
  something.
- Ids that open a shell are no part of an action: they are secrets.
"""

import re
import zlib
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote

from oidcgate.policy import readings

LONGEST_NAME = 256  # characters of a name that are shown; Kubernetes' own are 253 at most
MOST_SHELL_REPLY = 1024  # bytes of the reply that names a shell
MOST_SEGMENTS = 12  # at the end of a path; no action has more
SHELL_ID = re.compile(r"[0-9a-f]{32}")
SHELL_REPLY = re.compile(rb'\s*\{\s*"id"\s*:\s*"([0-9a-f]{32})"\s*\}\s*')

# How a segment begins that every action's path has one of; what has none needs no second look.
MARK = "(?:(?:exec|attach|port[fF]orward|secrets)(?:[/?]|$)|(?:run|secret|shell|sockjs)/)"
MAY_BE = re.compile("exec|attach|port[fF]orward|run|secret|shell|sockjs|%")

READ = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})  # a secret's writers are answered with it, too
ANY = READ | {"HEAD", "OPTIONS"}
SEG = r"[^/]+"
NAMESPACE = rf"namespaces?/(?P<namespace>{SEG})"


@dataclass(frozen=True, slots=True)
class Action:
    """
    Something done in the cluster.

    Attributes:
        kind: ``exec``, ``attach``, ``port_forward`` or ``secret``; ``shell`` = the Dashboard is asked for a shell,
            whose bytes go over SockJS later.
        cluster: of a UI for several.
        secret: its name; empty = a list of them.
        leg: of a shell over SockJS, how its bytes go: ``websocket``, another transport that brings what the shell
            says, or ``send``; empty = no such shell.
    """

    kind: str
    cluster: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    secret: str = ""
    leg: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether it goes on until somebody ends it."""
        return self.kind not in ("secret", "shell")


@dataclass(frozen=True, slots=True)
class Pattern:
    """The end of a path, the methods that act there, and what that is."""

    kind: str
    path: re.Pattern[str]
    methods: frozenset[str] = ANY


def _ending(kind: str, text: str, methods: frozenset[str] = ANY) -> Pattern:
    return Pattern(kind, re.compile(rf"(?:{SEG}/)*?{text}"), methods)


POD = rf"{NAMESPACE}/pods/(?P<pod>{SEG})"
KUBELET = rf"(?P<namespace>{SEG})/(?P<pod>{SEG})(?:/{SEG})??(?:/(?P<container>{SEG}))?"
PATTERNS = (
    # The API server, also behind a UI's own prefix.
    _ending("exec", rf"{POD}/exec"),
    _ending("attach", rf"{POD}/attach"),
    _ending("port_forward", rf"{POD}/portforward"),
    _ending("secret", rf"v1/(?:watch/)?{NAMESPACE}/secrets(?:/(?P<secret>{SEG}))?", READ),
    _ending("secret", "v1/(?:watch/)?secrets", READ),
    # A node's own server, by way of the API server.
    _ending("exec", rf"proxy/(?:exec|run)/{KUBELET}"),
    _ending("attach", rf"proxy/attach/{KUBELET}"),
    _ending("port_forward", rf"proxy/portForward/{KUBELET}"),
    # The Dashboard's lists show names alone.
    _ending("secret", rf"v1/secret/(?P<namespace>{SEG})/(?P<secret>{SEG})", READ),
    _ending("secret", rf"v1/_raw/secret/{NAMESPACE}/name/(?P<secret>{SEG})", READ),
    _ending("shell", rf"v1/pod/(?P<namespace>{SEG})/(?P<pod>{SEG})/shell/(?P<container>{SEG})"),
    # Headlamp forwards for itself; which pod stands in the body.
    _ending("port_forward", "portforward", frozenset({"POST"})),
)
CLUSTER = re.compile(rf"/clusters/({SEG})/")
SOCKJS = re.compile(
    rf"(?:{SEG}/)*?sockjs/[^/.]+/[^/.]+/"
    r"(?:(?P<leg>websocket|xhr|xhr_streaming|eventsource|htmlfile|jsonp)|(?:xhr|jsonp)_send)"
)


def action_of(method: str, path: str, query: str) -> Action | None:
    """
    What a request does in the cluster, if anything that matters here.

    Args:
        path: raw, as received; query: what follows the ``?``.

    Raises:
        RequestError: as ``policy.readings``.
    """
    if not MAY_BE.search(path):
        return None
    for reading in readings(path):
        action = _read(method, reading)
        if action is not None:
            return _with_container(action, query)
    return None


def _read(method: str, path: str) -> Action | None:
    end = "/".join(path.rstrip("/").split("/")[1:][-MOST_SEGMENTS:])
    sock = SOCKJS.fullmatch(end)
    if sock is not None:
        return Action("exec", leg=sock["leg"] or "send")
    for pattern in PATTERNS:
        match = pattern.path.fullmatch(end) if method in pattern.methods else None
        if match is not None:
            names = {name: shown(value) for name, value in match.groupdict().items() if value}
            cluster = CLUSTER.search(path)
            return Action(pattern.kind, cluster=shown(cluster[1]) if cluster is not None else "", **names)
    return None


def _with_container(action: Action, query: str) -> Action:
    if not action.pod or action.container or "container=" not in unquote(query):
        return action
    values = [value for name, value in parse_qsl(query) if name == "container"]
    return replace(action, container=shown(values[0], decode=False)) if values else action


def shown(name: str, *, decode: bool = True) -> str:
    """A name of a path as servers read it, cut when nothing in a cluster is called that."""
    return (unquote(name) if decode else name).strip()[:LONGEST_NAME]


def id_in_query(query: str) -> str | None:
    """The shell's id that SockJS sends along, which is a query of its own."""
    return next((part for part in query.split("&") if SHELL_ID.fullmatch(part)), None)


def id_in_reply(body: bytes) -> str | None:
    """The id that the Dashboard gives to a shell: ``{"id": …}`` and no more, perhaps compressed."""
    if len(body) > MOST_SHELL_REPLY:
        return None
    found = SHELL_REPLY.fullmatch(body if body[:1] != b"\x1f" and body[:1] != b"x" else _unpacked(body))
    return None if found is None else found[1].decode("ascii")


def _unpacked(body: bytes) -> bytes:
    """A small body as it was before gzip or zlib; empty when it is neither, or grows too large."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # whichever of the two it begins with
    try:
        plain = decoder.decompress(body, MOST_SHELL_REPLY)
    except zlib.error:
        return b""
    return plain if decoder.eof else b""
