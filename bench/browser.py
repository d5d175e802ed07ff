"""
A scripted browser: enough of one to sign in through any gate and any issuer with a plain login form.

Cookies go by host name and path and ignore ports, as a browser's do. Nothing is run or rendered.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

MAX_STEPS = 20  # a login takes about eight
TIME_LIMIT = 15  # seconds for one answer
NAVIGATION = {
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "User-Agent": "oidcgate-bench",
}


class LoginFailed(Exception):
    """The way through the login ended somewhere else; says where."""


@dataclass
class Page:
    url: str
    status: int
    location: str | None
    text: str


class PostForm(HTMLParser):
    """The first form of a page that is sent by POST: where it goes and what its fields hold."""

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
class Browser:
    login: str
    password: str
    cookies: dict[tuple[str, str, str], str] = field(default_factory=dict)  # (host, path, name) -> value

    def sign_in(self, url: str) -> str:
        """
        Opens the address, logs in wherever that leads, and arrives.

        Returns:
            The `Cookie` header for the address.

        Raises:
            LoginFailed: the address was not reached.
        """
        page = self._open("GET", url)
        for _ in range(MAX_STEPS):
            if page.location is not None:
                page = self._open("GET", urljoin(page.url, page.location))
            elif page.status != 200:
                break
            elif page.url == url:
                return self.cookie_header(url)
            else:
                page = self._act(page, home=urlsplit(url).netloc)
        raise LoginFailed(f"the login ended at {page.url.partition('?')[0]} with status {page.status}")

    def cookie_header(self, url: str) -> str:
        parts = urlsplit(url)
        return "; ".join(
            f"{name}={value}"
            for (host, path, name), value in self.cookies.items()
            if host == parts.hostname and (parts.path or "/").startswith(path)
        )

    def _act(self, page: Page, *, home: str) -> Page:
        """What a person, or the page's own script, does on this page."""
        form = PostForm(page.text)
        if urlsplit(page.url).netloc != home and form.action is not None:
            known = {"login": self.login, "password": self.password}
            fields = form.fields | {name: value for name, value in known.items() if name in form.fields}
            return self._open("POST", urljoin(page.url, form.action or page.url), urlencode(fields))
        if urlsplit(page.url).path.endswith("/start") and "&f=" not in page.url:
            return self._open("GET", f"{page.url}&f=")  # the page that fetches the #fragment
        raise LoginFailed(f"nothing to do on {page.url.partition('?')[0]}")

    def _open(self, method: str, url: str, body: str | None = None) -> Page:
        url = urldefrag(url).url
        parts = urlsplit(url)
        headers = dict(NAVIGATION)
        if cookie := self.cookie_header(url):
            headers["Cookie"] = cookie
        if body is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"{parts.scheme}://{parts.netloc}",
            }
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIME_LIMIT)
        try:
            connection.request(method, parts._replace(scheme="", netloc="").geturl(), body, headers)
            reply = connection.getresponse()
            text = reply.read().decode(errors="replace")
        finally:
            connection.close()
        for line in reply.headers.get_all("Set-Cookie", []):
            self._keep(line, parts.hostname or "")
        location = reply.headers["Location"] if 300 <= reply.status < 400 else None
        return Page(url, reply.status, location, text)

    def _keep(self, line: str, host: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            key = (host, morsel["path"] or "/", name)
            if morsel["max-age"] == "0" or "1970" in morsel["expires"] or not morsel.value:
                self.cookies.pop(key, None)
            else:
                self.cookies[key] = morsel.coded_value
