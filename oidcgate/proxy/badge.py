"""
The session badge's way into a UI's page: one script element, put into the one document as it streams by.

Pure. Rules of this file:
- Bytes pass as they come: what is held back is a tag that is not decided yet, never the document.
- What is not certainly a page that may be changed passes untouched; of a page that is changed, all stays byte for byte
  but the framing, what speaks of the very bytes, and the policy on scripts.
- A policy in a ``<meta>`` cannot be seen in time: what it forbids, the browser leaves out, and the page has no badge.

The place is the first that HTML knows as inside the head (HTML §13.2.6.4.2 to 4): after ``<head>``, else before the
first thing that is neither a doctype, a comment nor ``<html>``. Before the doctype it would bring on quirks mode.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from oidcgate.proxy.badge_csp import Wanted, allowing
from oidcgate.proxy.reply import END, Framing, Reply

MOST_TAG = 4096  # bytes of <html …> or <head …>; before a longer one the script is put in front of it
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xfe\xff", b"\xff\xfe")  # UTF-16: not to be read as ASCII
SPACE = re.compile(rb"[\t\n\f\r ]+")
COMMENT_END = re.compile(rb"--!?>")
LONGEST_END = 3  # bytes of a comment's end that may still miss its last
OPENING = re.compile(rb"<(?:(!--)|([!?])|((?:html|head)[\t\n\f\r />]))", re.IGNORECASE)
# A quote counts only where a value begins; possessive, since nothing here can be read in two ways.
TAG = re.compile(rb"<(html|head)(?:[^>=]|=[\t\n\f\r ]*+(?:\"[^\"]*+\"|'[^']*+'|(?![\t\n\f\r \"'])))*+>", re.IGNORECASE)
UNDECIDED = (b"<!--", b"<html", b"<head")

# What makes a reply depend on what the browser has, or come in a form that is not plain text.
CONDITIONS = re.compile(rb"^(?:accept-encoding|if-[a-z-]+|range): [^\r]*\r\n", re.IGNORECASE | re.MULTILINE)
IDENTITY = b"Accept-Encoding: identity\r\n"
# What speaks of the very bytes (RFC 9110 §8.8, §14.3; RFC 9530), or how long they are.
DROPPED = frozenset(
    (
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"etag",
        b"last-modified",
        b"accept-ranges",
        b"content-md5",
        b"digest",
        b"content-digest",
        b"repr-digest",
    )
)
Step = Callable[[bytes, int], int]
POLICIES = (b"content-security-policy", b"content-security-policy-report-only")
CHARSET = re.compile(rb"charset=\"?utf-?(?:16|32)", re.IGNORECASE)


def unconditional(block: bytes) -> bytes:
    """A request's header lines, so that a page comes whole and as plain text."""
    return CONDITIONS.sub(b"", block) + IDENTITY


class Insertion:
    """Finds the place in a document that comes in pieces, and puts an element there, once."""

    __slots__ = ("_element", "_held", "_step")

    def __init__(self, element: bytes) -> None:
        self._element = element
        self._held = b""
        self._step: Step | None = self._start  # None once the place is found

    def feed(self, data: bytes) -> list[bytes]:
        """What may be passed on by now, in order."""
        step = self._step
        if step is None:
            return [data]
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            then = step(data, at)
            step = self._step
            if step is None:
                return [data[:then], self._element, data[then:]]
            if then == at:
                self._held = data[at:]
                break
            at = then
        return [data[:at]]

    def rest(self) -> bytes:
        """What was held back, at the end of a document that has no place."""
        held, self._held = self._held, b""
        return held

    # Steps: each looks at the bytes from a position on, and says up to where they are understood; nowhere further when
    # it takes more of them to tell.

    def _start(self, data: bytes, at: int) -> int:
        if len(data) < len(BOM) and (BOM.startswith(data) or data in (WIDE[0][:1], WIDE[1][:1])):
            return at
        if data.startswith(WIDE):
            self._element = b""
            self._step = None
            return at
        self._step = self._between
        return len(BOM) if data.startswith(BOM) else self._between(data, at)

    def _between(self, data: bytes, at: int) -> int:
        space = SPACE.match(data, at)
        if space is not None:
            return space.end()
        if any(text.startswith(data[at:].lower()) for text in UNDECIDED):
            return at
        opening = OPENING.match(data, at)
        if opening is None:
            self._step = None
            return at
        if opening[1]:
            self._step = self._comment
            return at + 2  # `<!-->` is a whole comment: its dashes count twice
        if opening[2]:
            self._step = self._declaration
            return at + 2
        return self._tag(data, at)

    def _tag(self, data: bytes, at: int) -> int:
        tag = TAG.match(data, at)
        if tag is None:
            if len(data) - at > MOST_TAG:
                self._step = None
            return at
        if tag[1].lower() == b"head":
            self._step = None
        return tag.end()

    def _comment(self, data: bytes, at: int) -> int:
        end = COMMENT_END.search(data, at)
        if end is None:
            return max(at, len(data) - LONGEST_END)
        self._step = self._between
        return end.end()

    def _declaration(self, data: bytes, at: int) -> int:
        end = data.find(b">", at)
        if end < 0:
            return len(data)
        self._step = self._between
        return end + 1


class Page(NamedTuple):
    """A reply that becomes a page with the badge: its new head, and what its body passes through."""

    reply: Reply
    insertion: Insertion


@dataclass(frozen=True, slots=True)
class Badge:
    """
    The badge of one page.

    Attributes:
        origin: of the site.
        script: path of the script; an absolute one, since a page may have a ``<base>``.
        asks: path that the script asks.
        nonce: fresh and random; used where the page's policy goes by nonces alone.
    """

    origin: str
    script: str
    asks: str
    nonce: str

    def page(self, reply: Reply, *, http11: bool) -> Page | None:
        """
        What becomes of a reply; None when it is to pass as it is.

        Args:
            http11: whether the browser understands chunked; else the connection's end ends the page.
        """
        fields = _fields(reply.head)
        if not _is_page(reply, fields):
            return None
        wanted = Wanted(f"{self.origin}{self.script}", f"{self.origin}{self.asks}", self.origin, self.nonce)
        policies = allowing([value for name, value, _ in fields if name in POLICIES], wanted)
        if policies is None:
            return None
        framing = Framing.NONE if reply.framing is Framing.NONE else Framing.CHUNKED
        head = _head(reply.head, fields, policies.values, is_chunked=http11 and framing is Framing.CHUNKED)
        closes = not http11 or any(name == b"connection" and value.lower() == b"close" for name, value, _ in fields)
        head += b"Connection: close" + END if closes else b"\r\n"
        nonce = f' nonce="{escape(self.nonce)}"' if policies.uses_nonce else ""
        element = f'<script src="{escape(self.script)}"{nonce} defer></script>'.encode()
        return Page(reply._replace(head=head, framing=framing), Insertion(element))


Fields = list[tuple[bytes, bytes, bytes]]  # lower-case name, value, and the whole line


def _fields(head: bytes) -> Fields:
    lines = head[: -len(END)].split(b"\r\n")[1:]
    return [(name.lower(), value.strip(b" \t"), line) for line in lines for name, _, value in (line.partition(b":"),)]


def _is_page(reply: Reply, fields: Fields) -> bool:
    if reply.status != 200 or (reply.framing is Framing.LENGTH and not reply.length):
        return False
    kinds = [value for name, value, _ in fields if name == b"content-type"]
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"text/html" or CHARSET.search(kinds[0]):
        return False
    said = {name: value.lower() for name, value, _ in fields}
    return (
        said.get(b"content-encoding", b"identity") == b"identity"
        and not said.get(b"content-disposition", b"").startswith(b"attachment")
        and not any(name == b"cache-control" and b"no-transform" in value.lower() for name, value, _ in fields)
    )


def _head(head: bytes, fields: Fields, policies: list[bytes], *, is_chunked: bool) -> bytes:
    """The head's lines less its end; policies take the place of those that were there, in order."""
    lines, replaced = [head[: head.index(b"\r\n")]], iter(policies)
    for name, value, line in fields:
        if name in POLICIES:
            policy = next(replaced)
            lines.append(line if policy == value else line[: line.index(b":")] + b": " + policy)
        elif name not in DROPPED:
            lines.append(line)
    if is_chunked:
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n"
