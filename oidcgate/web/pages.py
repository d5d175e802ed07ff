"""
The gate's own pages: one template, dark and light, without anything from elsewhere.

Edge: aiohttp responses. Rules of this file:
- Whatever came from outside is escaped; links and forms lead to our own paths only.
- Each page has a strict Content-Security-Policy with a nonce of its own. Two kinds have a script: the one that
  fetches the fragment, and those that try again by themselves; both do their work without it, too.
- What a page says is known before whose it is: a ``Draft`` is dressed when it is answered.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from importlib.resources import files

from aiohttp import web

from oidcgate.web import texts
from oidcgate.web.look import PLAIN, Look

STYLE = (files("oidcgate.web") / "style.css").read_text(encoding="utf-8")
START_SCRIPT = 'var a=document.getElementById("go");location.replace(a.href+encodeURIComponent(location.hash.slice(1)))'
# Loads again after a while, unless told to stop (WCAG 2.2.1). A reload would send a form again, and an address with a
# fragment is only reloaded by one.
AGAIN_SCRIPT = (
    'var b=document.getElementById("again"),d=b.dataset,t;'
    "function go(){d.url?location.replace(d.url):location.hash?location.reload():location.replace(location.href)}"
    "function wait(){t=setTimeout(go,d.after*1e3)}"
    "b.hidden=false;b.onclick=function(){t?(clearTimeout(t),t=0):wait();b.textContent=t?d.stop:d.start};wait()"
)


class Sign(Enum):
    """The picture that says what kind of news a page has, to those who do not read it first; its strokes."""

    NONE = ""
    DONE = '<path d="m5 12.5 4.5 4.5L19 7.5"/>'
    ASK = '<path d="M9 8.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4"/><path d="M12 17.5v.01"/>'
    CLOSED = '<rect x="5" y="11" width="14" height="9" rx="2"/><path d="M8 11V8a4 4 0 0 1 8 0v3"/>'
    WAIT = '<circle cx="12" cy="12" r="8.5"/><path d="M12 7.5V12l3 2"/>'
    TROUBLE = '<path d="M12 4 2.8 19.5h18.4Z"/><path d="M12 10v4.5M12 17v.01"/>'
    PERSON = '<circle cx="12" cy="8" r="4"/><path d="M4.5 20a7.5 7.5 0 0 1 15 0"/>'

    def html(self) -> str:
        """The picture, which is not read out: the heading says it in words."""
        if self is Sign.NONE:
            return ""
        return (
            f'<svg class="sign {self.name.lower()}" viewBox="0 0 24 24" fill="none" stroke="currentColor" '
            f'stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">{self.value}</svg>'
        )


@dataclass(frozen=True, slots=True)
class Action:
    """
    A link, or a form when ``fields`` are given.

    Attributes:
        about: what it is for, read out after the label where several have the same.
    """

    label: str
    url: str
    quiet: bool = False
    fields: tuple[tuple[str, str], ...] | None = None
    about: str = ""

    def html(self) -> str:
        """The element."""
        kind = "button quiet" if self.quiet else "button"
        about = f'<span class="heard"> {escape(self.about)}</span>' if self.about else ""
        label = escape(self.label) + about
        if self.fields is None:
            return f'<a class="{kind}" href="{escape(self.url)}">{label}</a>'
        hidden = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in self.fields)
        button = f'<button class="{kind}" type="submit">{label}</button>'
        return f'<form method="post" action="{escape(self.url)}">{hidden}{button}</form>'


@dataclass(frozen=True, slots=True)
class Frame:
    """What is around what a page says: whose page it is, and which request it answers."""

    look: Look = PLAIN
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """
    What a page says.

    Attributes:
        body: markup between the facts and the actions, in which everything is escaped already.
        sign: what kind of news it is; by the status when not given.
    """

    heading: str
    sentence: str
    actions: Sequence[Action] = ()
    facts: Sequence[tuple[str, str]] = ()
    body: str = ""
    sign: Sign | None = None
    wide: bool = False
    refresh: int | None = None  # seconds until the page loads itself again
    refresh_url: str = ""  # what it loads then; empty = itself

    def response(
        self, status: int = 200, *, form_origins: Sequence[str] = (), headers: dict[str, str] | None = None
    ) -> "Draft":
        """The page as a response, to be dressed."""
        return Draft(self, status, form_origins=form_origins, headers=headers)

    @property
    def script(self) -> str:
        """The page's own script, if any."""
        return AGAIN_SCRIPT if self.refresh is not None else ""

    def head(self) -> str:
        """What the document's head has besides: without scripts, it is the browser that loads the page again."""
        if self.refresh is None:
            return ""
        where = f";url={escape(self.refresh_url)}" if self.refresh_url else ""
        return f'<noscript><meta http-equiv="refresh" content="{self.refresh}{where}"></noscript>'

    def main(self, status: int) -> str:
        """What the page says, as markup."""
        sign = _sign_of(self, status) if self.sign is None else self.sign
        return (
            f"{sign.html()}<h1>{escape(self.heading)}</h1>"
            + (f"<p>{escape(self.sentence)}</p>" if self.sentence else "")
            + (facts_list(self.facts) if self.facts else "")
            + self.body
            + action_row(*self.actions, more=self._again())
        )

    def _again(self) -> str:
        """What ends the page's trying, and begins it anew; shown by the script that tries."""
        if self.refresh is None:
            return ""
        stop, start = escape(texts.STOP_TRYING), escape(texts.GO_ON_TRYING)
        return (
            f'<button class="button quiet" type="button" id="again" hidden data-after="{self.refresh}" '
            f'data-url="{escape(self.refresh_url)}" data-stop="{stop}" data-start="{start}">{stop}</button>'
        )


def _sign_of(page: Page, status: int) -> Sign:
    if page.refresh is not None:
        return Sign.WAIT
    if status == 403:
        return Sign.CLOSED
    return Sign.TROUBLE if status >= 400 else Sign.NONE


@dataclass(frozen=True, slots=True)
class StartPage(Page):
    """The page that fetches the fragment, which browsers send to nobody, and goes on at once; seen only if it stays."""

    url: str = ""

    @property
    def script(self) -> str:
        return START_SCRIPT

    def head(self) -> str:
        return f'<noscript><meta http-equiv="refresh" content="0;url={escape(self.url)}"></noscript>'

    def main(self, status: int) -> str:
        link = f'<a class="button quiet" id="go" href="{escape(self.url)}">{escape(texts.CONTINUE)}</a>'
        return f'{Page.main(self, status)}<div class="actions">{link}</div>'


def start_page(url: str) -> "Draft":
    """
    The page that fetches the fragment.

    Args:
        url: our own ``/start`` address, ending with ``&f=``.
    """
    return StartPage(*texts.START, url=url, sign=Sign.NONE).response()


class Draft(web.Response):
    """A page as a response, which is empty until somebody says whose it is."""

    def __init__(
        self, page: Page, status: int, *, form_origins: Sequence[str] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status=status, headers=headers)
        self._page = page
        self._form_origins = tuple(form_origins)

    def dress(self, frame: Frame) -> "Draft":
        """Write the document; itself, for chaining."""
        nonce = secrets.token_urlsafe(16)
        self.content_type, self.charset = "text/html", "utf-8"
        self.text = document(self._page, self.status, frame, nonce)
        self.headers["Content-Security-Policy"] = policy(
            nonce,
            script=bool(self._page.script),
            images=frame.look.logo is not None,
            form_origins=self._form_origins,
        )
        return self


def document(page: Page, status: int, frame: Frame, nonce: str) -> str:
    """A whole HTML document: the one template of every page."""
    look = frame.look
    icon = f'<link rel="icon" href="{escape(look.logo_url)}">' if look.logo is not None else ""
    kind = " ".join(("wide",) * page.wide + ("passing",) * isinstance(page, StartPage))
    script = f'<script nonce="{nonce}">{page.script}</script>' if page.script else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(page.heading)} – {escape(look.name)}</title>{icon}{page.head()}"
        f'<style nonce="{nonce}">{STYLE}{look.style}</style></head>'
        f'<body class="{kind}"><header>{look.brand}</header><main>{page.main(status)}</main>'
        + (f"<footer><p>{escape(frame.note)}</p></footer>" if frame.note else "")
        + f"{script}</body></html>"
    )


def policy(nonce: str, *, script: bool, images: bool, form_origins: Sequence[str]) -> str:
    """The Content-Security-Policy of a page: what it has itself, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'nonce-{nonce}'",
            *((f"script-src 'nonce-{nonce}'",) if script else ()),
            *(("img-src 'self'",) if images else ()),
            " ".join(("form-action 'self'", *form_origins)),
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


# Pieces that several pages have.


def facts_list(facts: Sequence[tuple[str, str]]) -> str:
    """Names and values; those without a value are left out."""
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    return f"<dl>{shown}</dl>"


def action_row(*actions: Action, more: str = "") -> str:
    """What one can do next; the first is what most people want. Nothing when there is nothing."""
    row = "".join(action.html() for action in actions) + more
    return f'<div class="actions">{row}</div>' if row else ""


def preformatted(text: str, label: str) -> str:
    """A text to copy; whoever has no mouse can scroll it."""
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'


# Answers that are no pages.


def own_headers(response: web.StreamResponse, *, secure: bool) -> None:
    """Headers of everything that the gate itself answers."""
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
