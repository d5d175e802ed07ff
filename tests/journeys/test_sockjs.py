"""The shell as both Dashboards open it: npm's sockjs-client in Chromium, over each of its transports."""

from urllib.parse import urlsplit

import pytest

from tests.journeys.steps import FORM, POD, sign_in
from tests.lab.npm import node_modules
from tests.support.browser import Browser
from tests.support.chromium import People, visit
from tests.support.raw import fetch, request
from tests.support.stack import Stack

SESSION_LOOP = pytest.mark.asyncio(loop_scope="session")
TRANSPORTS = ("websocket", "xhr-streaming", "eventsource", "htmlfile", "xhr-polling", "jsonp-polling")
SHELL = f"api/v1/pod/{POD}/shell/cart"
# Opens a shell, types two lines, the second when the first has been answered, and tells what came.
TALK = r"""
async ([transport, path]) => {
  const { id } = await (await fetch(path)).json();
  return await new Promise((done) => {
    const socket = new SockJS(`api/sockjs?${id}`, null, { transports: [transport] });
    const told = { used: null, text: "" };
    const say = (message) => socket.send(JSON.stringify(message));
    const type = (Data) => say({ Op: "stdin", Data });
    socket.onopen = () => {
      told.used = socket.transport;
      say({ Op: "bind", SessionID: id });
      say({ Op: "resize", Cols: 80, Rows: 24 });
      type('echo "hé </script> x"\r');
    };
    socket.onmessage = ({ data }) => {
      const before = told.text.includes("\r\nhé </script> x\r\n");
      told.text += JSON.parse(data).Data;
      if (!before && told.text.includes("\r\nhé </script> x\r\n")) type("exit\r");
    };
    socket.onclose = ({ code, reason }) => done({ ...told, code, reason });
  });
}
"""


@pytest.mark.browser
@SESSION_LOOP
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_shell_over(shown: Stack, people: People, transport: str) -> None:
    """A shell opens, answers what is typed and ends, over this transport and no other."""
    person = await people()
    page = await sign_in(person, f"{shown.url}/#/namespaces")
    await page.add_script_tag(path=node_modules() / "sockjs-client/dist/sockjs.min.js")
    told = await page.evaluate(TALK, [transport, SHELL])
    assert told["used"] == transport
    assert "\r\nhé </script> x\r\n" in told["text"]
    assert (told["code"], told["reason"]) == (1, "Process exited")
    assert shown.ui is not None
    await shown.ui.wait_for(lambda ui: not ui.open_terminals)
    calls = {urlsplit(arrival.raw_target).path.rpartition("/")[2] for arrival in shown.ui.arrivals}
    assert (
        calls
        >= {
            "websocket": {"info", "websocket"},
            "xhr-streaming": {"info", "xhr_streaming", "xhr_send"},
            "eventsource": {"info", "eventsource", "xhr_send"},
            "htmlfile": {"info", "htmlfile", "xhr_send"},
            "xhr-polling": {"info", "xhr", "xhr_send"},
            "jsonp-polling": {"info", "jsonp", "jsonp_send"},
        }[transport]
    )
    assert person.complaints == []
    assert person.origins == {shown.url, shown.issuer.url.removesuffix("/dex")}


@pytest.mark.browser
@SESSION_LOOP
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_sign_out_ends_the_shell_over(shown: Stack, people: People, transport: str) -> None:
    """A shell ends when its person signs out in another tab, whatever carries it, and cannot be opened again."""
    person = await people()
    page = await sign_in(person, f"{shown.url}/#/namespaces")
    await page.add_script_tag(path=node_modules() / "sockjs-client/dist/sockjs.min.js")
    ending = "socket.onopen = () => {"
    talk = TALK.replace(ending, ending + " window.opened = true;").replace('"exit\\r"', '""')
    await page.evaluate(f"args => void (window.told = ({talk})(args))", [transport, SHELL])
    assert shown.ui is not None
    await shown.ui.wait_for(lambda ui: len(ui.open_terminals) == 1)
    other = await person.tab(f"{shown.url}/oauth2/sign_out")
    await other.get_by_role("button", name="Sign out").click()
    await other.wait_for_url(f"{shown.url}/oauth2/signed_out")
    await shown.ui.wait_for(lambda ui: not ui.open_terminals)
    if transport != "htmlfile":  # a frame whose document is cut off tells its page nothing
        assert (await page.evaluate("window.told"))["used"] == transport
    await visit(page, f"{shown.url}/")
    await page.wait_for_selector(FORM)


@pytest.mark.parametrize(
    "path", ["info", "000/abcdefgh/websocket", "000/abcdefgh/xhr_streaming", "iframe.html", "iframe-1.6.1.html"]
)
async def test_nobody_gets_at_shells(stack: Stack, path: str) -> None:
    """Without a session SockJS answers 401 in every form, without a redirect, a cookie or a word of the UI's."""
    method = "POST" if path.endswith("streaming") else "GET"
    target = f"/api/sockjs/{path}?{'0' * 32}"
    host = urlsplit(stack.url).netloc
    reply = await fetch(stack.port, request(target, method=method, host=host), method)
    assert reply.status in ((401, 403, 404) if "iframe" in path else (401,))
    assert not reply.values("Location") + reply.values("Set-Cookie")
    assert stack.ui is not None
    assert not [arrival for arrival in stack.ui.arrivals if "sockjs" in arrival.raw_target]


@pytest.mark.parametrize("path", ["info", "000/abcdefgh/xhr_streaming", "000/abcdefgh/htmlfile?c=x"])
async def test_foreign_pages_get_no_shells(stack: Stack, path: str) -> None:
    """With the person's cookie but another site's Origin SockJS answers 403, and allows that site nothing."""
    browser = await stack.browser()
    assert stack.ui is not None
    seen = len(stack.ui.arrivals)
    reply = (await browser.fetch(f"{stack.url}/api/sockjs/{path}", Origin="https://evil.example")).reply
    assert reply.status == 403
    assert not [name for name, _ in reply.headers if name.lower().startswith("access-control-")]
    assert len(stack.ui.arrivals) == seen


async def test_foreign_origins_are_never_allowed(stack: Stack) -> None:
    """The UI allows whatever Origin asks, with credentials; what reaches a browser names the site itself at most."""
    browser = await stack.browser()
    for headers in ({"Origin": stack.url}, {}):
        page = await browser.fetch(f"{stack.url}/api/sockjs/info?{'0' * 32}", **headers)
        assert page.status == 200
        assert set(page.reply.values("Access-Control-Allow-Origin")) <= {stack.url}


@pytest.mark.parametrize("name", ["iframe.html", "iframe-1.6.1.html", "iframe.html?x"])
async def test_iframe_page_is_blocked(stack: Stack, name: str) -> None:
    """The page that would load SockJS from a CDN is not passed on, whoever asks."""
    browser: Browser = await stack.browser()
    page = await browser.fetch(f"{stack.url}/api/sockjs/{name}")
    assert page.status == 403
    assert b"jsdelivr" not in page.reply.body
    assert stack.ui is not None
    assert not [arrival for arrival in stack.ui.arrivals if "iframe" in arrival.raw_target]
