"""
The gate's own pages: one small card, dark and light, without anything from elsewhere.

Edge: aiohttp responses. Rules of this file:
- Whatever came from outside is escaped; links and forms lead to our own paths only.
- Each page has a strict Content-Security-Policy with a nonce of its own (BR-01); a script is on the start page only.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from aiohttp import web

from oidcgate.web import texts

STYLE = (files("oidcgate.web") / "style.css").read_text(encoding="utf-8")
MARK = (
    '<svg class="mark" viewBox="0 0 44 44" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M8 40V20a14 14 0 0 1 28 0v20"/><path d="M4 40h36"/>'
    '<path d="M16 40V21a6 6 0 0 1 12 0v19" opacity=".55"/><circle cx="22" cy="29" r="1.5"/></svg>'
)
START_SCRIPT = 'var a=document.getElementById("go");location.replace(a.href+encodeURIComponent(location.hash.slice(1)))'


@dataclass(frozen=True, slots=True)
class Action:
    """A link, or a form when ``fields`` are given."""

    label: str
    url: str
    quiet: bool = False
    fields: tuple[tuple[str, str], ...] | None = None

    def html(self) -> str:
        """The element."""
        kind = "button quiet" if self.quiet else "button"
        if self.fields is None:
            return f'<a class="{kind}" href="{escape(self.url)}">{escape(self.label)}</a>'
        hidden = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in self.fields)
        button = f'<button class="{kind}" type="submit">{escape(self.label)}</button>'
        return f'<form method="post" action="{escape(self.url)}">{hidden}{button}</form>'


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says."""

    heading: str
    sentence: str
    actions: Sequence[Action] = ()
    facts: Sequence[tuple[str, str]] = ()
    note: str = ""
    refresh: int | None = None  # seconds until the page loads itself again
    refresh_url: str = ""  # what it loads then; empty = itself

    def response(
        self, status: int = 200, *, form_origins: Sequence[str] = (), headers: dict[str, str] | None = None
    ) -> web.Response:
        """The page as a response."""
        nonce = secrets.token_urlsafe(16)
        facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in self.facts)
        actions = "".join(action.html() for action in self.actions)
        body = (
            f"{MARK}<h1>{escape(self.heading)}</h1>"
            + (f"<p>{escape(self.sentence)}</p>" if self.sentence else "")
            + (f"<dl>{facts}</dl>" if facts else "")
            + (f'<div class="actions">{actions}</div>' if actions else "")
            + (f"<small>{escape(self.note)}</small>" if self.note else "")
        )
        where = f";url={escape(self.refresh_url)}" if self.refresh_url else ""
        refresh = f'<meta http-equiv="refresh" content="{self.refresh}{where}">' if self.refresh is not None else ""
        return _respond(
            document(self.heading, body, nonce, head=refresh, kind="trouble" if status >= 400 else ""),
            status,
            nonce,
            form_origins=form_origins,
            headers=headers,
        )


def document(title: str, body: str, nonce: str, *, head: str = "", kind: str = "") -> str:
    """A whole HTML document around a body; ``kind`` is how it looks: trouble, or passing (shown only if it stays)."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title>{head}<style nonce="{nonce}">{STYLE}</style></head>'
        f'<body><main class="{kind}">{body}</main></body></html>'
    )


def start_page(url: str) -> web.Response:
    """
    The page that fetches the fragment, which browsers send to nobody, and goes on at once.

    Args:
        url: our own ``/start`` address, ending with ``&f=``.
    """
    nonce = secrets.token_urlsafe(16)
    heading, sentence = texts.START
    body = (
        f"{MARK}<h1>{escape(heading)}</h1><p>{escape(sentence)}</p>"
        f'<div class="actions"><a class="button quiet" id="go" href="{escape(url)}">{escape(texts.CONTINUE)}</a></div>'
        f'<script nonce="{nonce}">{START_SCRIPT}</script>'
    )
    head = f'<noscript><meta http-equiv="refresh" content="0;url={escape(url)}"></noscript>'
    return _respond(document(heading, body, nonce, head=head, kind="passing"), 200, nonce, script=True)


def document_response(title: str, body: str, status: int = 200) -> web.Response:
    """A page whose body is made elsewhere."""
    nonce = secrets.token_urlsafe(16)
    kind = "wide trouble" if status >= 400 else "wide"
    return _respond(document(title, f"{MARK}{body}", nonce, kind=kind), status, nonce)


def _respond(
    html: str,
    status: int,
    nonce: str,
    *,
    script: bool = False,
    form_origins: Sequence[str] = (),
    headers: dict[str, str] | None = None,
) -> web.Response:
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src 'nonce-{nonce}'",
            *((f"script-src 'nonce-{nonce}'",) if script else ()),
            " ".join(("form-action 'self'", *form_origins)),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )
    response = web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=headers)
    response.headers["Content-Security-Policy"] = policy
    return response


def own_headers(response: web.StreamResponse, *, secure: bool) -> None:
    """Headers of everything that the gate itself answers (BR-01)."""
    headers = response.headers
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Server"] = "oidcgate"
    if secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"


def json_response(status: int, body: dict[str, object]) -> web.Response:
    """A JSON answer for programs."""
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")


def redirect(location: str, *, status: int = 302) -> web.Response:
    """A redirect; the body is for people whose program does not follow."""
    response = web.Response(status=status, text="Continue at the address in the Location header.\n")
    response.headers["Location"] = location
    return response
