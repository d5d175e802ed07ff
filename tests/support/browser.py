"""
A scripted browser: follows redirects, keeps cookies by host, sends what browsers send, runs no script.

Cookies ignore ports, as in browsers. Each program of a test listens on loopback, so names need no resolver. A cookie
with a Domain is kept under that name with a dot before it, so that it is told from one of the host alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit

from tests.support.raw import Reply, fetch, request

NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "User-Agent": "scripted",
}
SCRIPT = {"Accept": "*/*", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
MOST_STEPS = 20


class Form(HTMLParser):
    """The first form of a page that is sent by POST."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None and values.get("method", "").lower() == "post":
            self.action, self._inside = values.get("action", ""), True
        elif self._inside and tag in ("input", "button") and values.get("name"):
            self.fields.setdefault(values["name"], values.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


@dataclass
class Page:
    """Where the browser is."""

    url: str
    reply: Reply

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def location(self) -> str:
        return self.reply.value("Location")


@dataclass
class Browser:
    """Somebody's browser."""

    cookies: dict[tuple[str, str], str] = field(default_factory=dict)
    visited: list[Page] = field(default_factory=list)
    route: Callable[[str], int | None] = lambda _url: None  # where an address is served, when not at its own port

    def cookie_header(self, url: str) -> str:
        """The Cookie header for an address."""
        host = urlsplit(url).hostname or ""
        return "; ".join(f"{name}={value}" for (where, name), value in self.cookies.items() if is_sent(where, host))

    def cookie(self, name: str) -> str | None:
        """A cookie's value on any host."""
        return next((value for (_, key), value in self.cookies.items() if key == name), None)

    async def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Page:
        """One request, no redirect followed."""
        plain, _ = urldefrag(url)
        parts = urlsplit(plain)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = dict(headers or {})
        if jar := self.cookie_header(plain):
            sent["Cookie"] = jar
        raw = request(target, method=method, host=parts.netloc, headers=sent, body=body)
        reply = await fetch(self.route(plain) or parts.port or 80, raw, method)
        self._keep(parts.hostname or "", reply)
        page = Page(url, reply)
        self.visited.append(page)
        return page

    def _keep(self, host: str, reply: Reply) -> None:
        for line in reply.values("Set-Cookie"):
            pair, *attributes = line.split(";")
            name, _, value = pair.strip().partition("=")
            said = dict(a.strip().lower().partition("=")[::2] for a in attributes)
            domain = said.get("domain", "").removeprefix(".")
            if domain and not is_sent(f".{domain}", host):  # of somebody else's domain (RFC 6265 §5.3, step 6)
                continue
            where = f".{domain}" if domain else host
            if said.get("max-age") == "0":
                self.cookies.pop((where, name), None)
            else:
                self.cookies[where, name] = value

    async def fetch(self, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Page:
        """What a page's script does."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {} if method in ("GET", "HEAD") else {"Origin": origin}
        return await self.send(method, url, {**SCRIPT, **own, **extra}, body)

    async def open(self, url: str) -> Page:
        """Type an address: redirects are followed, the start page's script is run, the fragment is carried along."""
        fragment = urldefrag(url).fragment
        page = await self.send("GET", url, NAVIGATION)
        return await self._follow(page, fragment)

    async def _follow(self, page: Page, fragment: str) -> Page:
        for _ in range(MOST_STEPS):
            if page.status in (301, 302, 303, 307, 308):
                url = urljoin(page.url, page.location)
                fragment = urldefrag(url).fragment or fragment
                page = await self.send("GET", url, {**NAVIGATION, "Sec-Fetch-Site": "cross-site"})
                page.url = urldefrag(url).url + (f"#{fragment}" if fragment else "")
            elif 'id="go"' in page.text:
                link = page.text.split('id="go" href="')[1].split('"')[0].replace("&amp;", "&")
                url = urljoin(page.url, link) + urlencode({"f": fragment})[2:].replace("+", "%20")
                page = await self.send("GET", url, {**NAVIGATION, "Sec-Fetch-Site": "same-origin"})
            else:
                return page
        raise AssertionError(f"the browser goes round in circles at {page.url}")

    async def submit(self, page: Page, **fields: str) -> Page:
        """Fill in a page's form and send it; redirects are followed."""
        form = Form(page.text)
        assert form.action is not None, f"no form at {page.url}: {page.status} {page.text[:300]}"
        url = urljoin(page.url, form.action or urlsplit(page.url).path + "?" + urlsplit(page.url).query)
        body = urlencode({**form.fields, **fields}).encode()
        headers = {
            **NAVIGATION,
            "Origin": "{0.scheme}://{0.netloc}".format(urlsplit(page.url)),
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self._follow(await self.send("POST", url, headers, body), "")

    async def sign_in(self, url: str, login: str = "alice") -> Page:
        """Open an address and log in wherever that leads."""
        page = await self.open(url)
        if "password" in page.text:
            page = await self.submit(page, login=login, password=login)
        return page


def is_sent(where: str, host: str) -> bool:
    """Whether a host gets the cookies kept under a name: its own, and those of a domain that it is or is below."""
    return where == host or (where.startswith(".") and f".{host}".endswith(where))


def query(url: str) -> dict[str, str]:
    """An address's query."""
    return dict(parse_qsl(urlsplit(url).query))
