"""The badge's way into a page: found in any pieces, and nothing else is touched."""

import pytest

from oidcgate.proxy.badge import MOST_TAG, Badge, Insertion, unconditional
from oidcgate.proxy.reply import Framing, Reply, ReplyRewriter

HERE = "|"  # where the element goes
SCRIPT = b'<script src="/oauth2/badge.js" defer></script>'
BADGE = Badge("https://ui.example.com", "/oauth2/badge.js", "/oauth2/badge", "fresh")


def passed(document: bytes, size: int) -> bytes:
    """A document that comes in pieces of a size."""
    insertion, out = Insertion(HERE.encode()), bytearray()
    for at in range(0, len(document), size):
        for piece in insertion.feed(document[at : at + size]):
            out += piece
    return bytes(out) + insertion.rest()


DOCUMENTS = {
    "usual": "<!doctype html><html lang=en><head>|<meta charset=utf-8><title>x</title></head><body>",
    "upper case": "<!DOCTYPE HTML>\r\n<HTML>\r\n<HEAD>|\r\n<TITLE>x</TITLE>",
    "head with attributes": '<head lang="en" data-x=\'>\' data-y = ">">|<title>',
    "html with a bracket in a value": '<html data-x="<head>"><head>|<title>',
    "an unquoted value with a quote in it": '<html data-x=a"b><head>|<title>',
    "a value that is missing": "<html data-x=><head>|<title>",
    "self-closing": "<head/>|<title>",
    "header is not head": "<!doctype html><html>|<header>x</header><head>",
    "headline is not head": "|<headline><head>",
    "htmlx is not html": "|<htmlx><head>",
    "no head": "<!doctype html><html>|<body>x</body></html>",
    "only an end of a head": "<html>|</head><body>",
    "neither head nor body": "<!doctype html>|<title>x</title><p>y",
    "no doctype": "|<p>x",
    "text": "<!doctype html>\n  |hello <head>",
    "text that begins like a tag": "|< head>",
    "comments": "<!-- <head> --><!doctype html><!--\n--><head>|<!-- x -->",
    "short comments": "<!--><!---><!----><head>|",
    "a comment that ends oddly": "<!-- x --!><head>|",
    "a comment with dashes": "<!-- - -- --- ->--><head>|",
    "not quite a comment": "<!-x><head>|",
    "an XML declaration": '<?xml version="1.0"?><html><head>|',
    "twice": "<head>|<head><body><head>",
    "a head in a script": "|<script>'<head>'</script>",
    "whitespace of all kinds": "\t\n\f\r <html\n>\n<head\t>|",
    "no place in blanks": " \n ",
    "no place in a doctype": "<!doctype html>",
    "no place in an open comment": "<!-- <head> --",
    "no place in an open tag": "<html><head lang='>",
    "no place in half a tag": "<!doctype html><hea",
    "no place in nothing": "",
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_place(name: str, size: int) -> None:
    """Whatever the pieces, the element stands where HTML knows the head, and every other byte is as it was."""
    wanted = DOCUMENTS[name]
    assert passed(wanted.replace(HERE, "").encode(), size).decode() == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_byte_order_marks(size: int) -> None:
    """UTF-8's mark stays first; a document in UTF-16 is left alone."""
    assert passed(b"\xef\xbb\xbf<head>x", size) == b"\xef\xbb\xbf<head>|x"
    assert passed(b"\xef\xbbx", size) == b"|\xef\xbbx"
    for wide in ("utf-16-le", "utf-16-be"):
        document = "\ufeff<head>x".encode(wide)
        assert passed(document, size) == document


def test_nothing_is_held_back_but_a_tag() -> None:
    """What is understood goes on at once, however long it is; what follows the place is passed as it comes."""
    insertion = Insertion(b"|")
    comment = b"<!--" + b"x" * 1_000_000
    assert sum(map(len, insertion.feed(comment))) >= len(comment) - 3
    assert insertion.feed(b"--><!doctype html><he") == [b"xxx--><!doctype html>"]
    assert insertion.feed(b"ad>rest") == [b"<head>", b"|", b"rest"]
    piece = b"y" * 1_000_000
    assert insertion.feed(piece)[0] is piece


def test_an_endless_tag_is_not_waited_for() -> None:
    """Before a tag that is too long the element is put in front of it."""
    insertion = Insertion(b"|")
    start = b"<html data-x='" + b"x" * MOST_TAG
    assert insertion.feed(start) == [b"", b"|", start]


def test_a_request_for_a_page_is_unconditional() -> None:
    """What asks for another form, a part, or nothing new goes; all else stays."""
    block = (
        b'Accept: text/html\r\nAccept-Encoding: gzip, br\r\nif-none-match: "x"\r\nIf-Modified-Since: Mon\r\n'
        b"Range: bytes=0-1\r\nIf-Range: x\r\nX-Range: 1\r\nCookie: a=If-None-Match: b\r\n"
    )
    assert unconditional(block) == (
        b"Accept: text/html\r\nX-Range: 1\r\nCookie: a=If-None-Match: b\r\nAccept-Encoding: identity\r\n"
    )


# The reply's head.

REWRITER = ReplyRewriter(origin=BADGE.origin, upstream_origins=(), own=b"oidcgate")
HTML = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"


def read(head: str, method: str = "GET", *, http11: bool = True, keep_alive: bool = True) -> Reply:
    """A reply as the exchange has it."""
    raw = head.removesuffix("\r\n").encode("latin-1")
    return REWRITER.read(raw, method=method, client_http11=http11, keep_alive=keep_alive)


def lines(head: bytes) -> list[str]:
    """A head's lines."""
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].decode("latin-1").split("\r\n")


OURS = ["X-Frame-Options: SAMEORIGIN", "X-Content-Type-Options: nosniff", "Cache-Control: private"]


def test_the_head_of_a_page() -> None:
    """Length and validators go, the body is chunked, and every other line is as it was."""
    reply = read(
        HTML + 'Set-Cookie: a=b\r\nETag: "x"\r\nLast-Modified: Mon\r\nAccept-Ranges: bytes\r\nContent-Length: 9\r\n'
        "Repr-Digest: x\r\nX-odd:  Y \r\n"
    )
    page = BADGE.page(reply, http11=True)
    assert page is not None
    assert page.reply.framing is Framing.CHUNKED
    assert lines(page.reply.head) == [
        "HTTP/1.1 200 OK",
        "Content-Type: text/html; charset=utf-8",
        "Set-Cookie: a=b",
        "X-odd:  Y ",
        *OURS,
        "Transfer-Encoding: chunked",
    ]
    assert b"".join(page.insertion.feed(b"<head>x")) == b"<head>" + SCRIPT + b"x"


@pytest.mark.parametrize("framing", ["Content-Length: 9\r\n", "Transfer-Encoding: chunked\r\n", ""])
@pytest.mark.parametrize("http11", [True, False])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_framing_of_a_page(framing: str, *, http11: bool, keep_alive: bool) -> None:
    """Chunked where the browser understands it, else up to the connection's end; said once."""
    page = BADGE.page(read(HTML + framing, http11=http11, keep_alive=keep_alive), http11=http11)
    assert page is not None
    head = page.reply.head.decode().lower()
    assert head.count("transfer-encoding: chunked") == http11
    assert head.count("connection: close") == (not http11 or not keep_alive)
    assert head.count("connection:") <= 1
    assert "content-length" not in head


def test_head_requests() -> None:
    """HEAD is answered with what GET would have, less the framing, and without a body."""
    page = BADGE.page(read(HTML + 'Content-Length: 9\r\nETag: "x"\r\n', "HEAD"), http11=True)
    assert page is not None
    assert page.reply.framing is Framing.NONE
    assert lines(page.reply.head) == ["HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", *OURS]


@pytest.mark.parametrize(
    "head",
    [
        HTML.replace("200", "404"),
        HTML.replace("200", "206"),
        HTML.replace("200", "304"),
        HTML.replace("text/html", "application/xhtml+xml"),
        HTML.replace("text/html", "application/json"),
        HTML.replace("text/html", "text/html5"),
        HTML.replace("utf-8", "utf-16le"),
        HTML.replace("utf-8", '"UTF-16"'),
        "HTTP/1.1 200 OK\r\n",
        HTML + "Content-Type: text/plain\r\n",
        HTML + "Content-Encoding: gzip\r\n",
        HTML + "Content-Encoding: br\r\nContent-Length: 5\r\n",
        HTML + "Content-Disposition: Attachment; filename=x.html\r\n",
        HTML + "Cache-Control: max-age=5, no-transform\r\n",
        HTML + "Content-Length: 0\r\n",
        HTML + "Content-Security-Policy: sandbox\r\n",
        HTML + "Content-Security-Policy: default-src 'self' \xe9\r\n",
    ],
)
def test_what_is_left_alone(head: str) -> None:
    """Errors, parts, other kinds of data, what comes compressed, downloads, and what may not be changed."""
    assert BADGE.page(read(head), http11=True) is None


@pytest.mark.parametrize(
    "head", [HTML + "Content-Encoding: identity\r\n", HTML.replace("text/html; charset=utf-8", "TEXT/HTML")]
)
def test_pages_written_otherwise(head: str) -> None:
    """Upper case, and a coding that is none."""
    assert BADGE.page(read(head), http11=True) is not None


def test_a_policy_is_changed_in_its_place() -> None:
    """Each policy's line stands where it stood; one that needs no change is the very line."""
    page = BADGE.page(
        read(
            HTML + "content-security-policy:default-src 'self'\r\nX-A: b\r\n"
            "Content-Security-Policy-Report-Only:  script-src 'none'\r\n"
        ),
        http11=True,
    )
    assert page is not None
    assert lines(page.reply.head)[2:5] == [
        "content-security-policy:default-src 'self'",
        "X-A: b",
        "Content-Security-Policy-Report-Only: script-src https://ui.example.com/oauth2/badge.js",
    ]


def test_a_page_that_goes_by_nonces() -> None:
    """The element carries the nonce that its page's policy got."""
    page = BADGE.page(read(HTML + "Content-Security-Policy: script-src 'strict-dynamic' 'nonce-a'\r\n"), http11=True)
    assert page is not None
    assert b"'nonce-fresh'" in page.reply.head
    assert b"".join(page.insertion.feed(b"x")) == SCRIPT.replace(b" defer", b' nonce="fresh" defer') + b"x"
