"""Pages: one template for all, whatever comes from outside is text, and each has a policy of its own."""

import re
from html import unescape

import pytest

from oidcgate.config.model import Look as LookConfig
from oidcgate.config.picture import Picture
from oidcgate.web import texts
from oidcgate.web.look import MARK, look_of
from oidcgate.web.pages import (
    Action,
    Draft,
    Frame,
    Page,
    Sign,
    action_row,
    facts_list,
    json_response,
    own_headers,
    preformatted,
    redirect,
    start_page,
)

HOSTILE = "</title><script>alert(1)</script>\"'&"
OURS = Frame(
    look_of(LookConfig(name="Acme <b>", colour="#0b6e4f"), Picture(b"png", "image/png"), prefix="/oauth2"), "Request 1"
)


def text_of(draft: Draft, frame: Frame | None = None) -> str:
    """The document."""
    text = draft.dress(frame or Frame()).text
    assert text is not None
    return text


def policy_of(draft: Draft, frame: Frame | None = None) -> dict[str, str]:
    """What a page's policy says, by directive."""
    parts = draft.dress(frame or Frame()).headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


def body_of(text: str) -> str:
    """What comes after the stylesheet."""
    return text.partition("</style>")[2]


def test_everything_is_escaped() -> None:
    """Headings, sentences, facts, notes, labels, addresses, fields, and the name of the look."""
    page = Page(
        HOSTILE,
        HOSTILE,
        actions=[
            Action(HOSTILE, f"/{HOSTILE}", about=HOSTILE),
            Action(HOSTILE, f"/{HOSTILE}", fields=((HOSTILE, HOSTILE),)),
        ],
        facts=[(HOSTILE, HOSTILE)],
        refresh=5,
        refresh_url=f"/{HOSTILE}",
    )
    text = text_of(page.response(), Frame(look_of(LookConfig(name=HOSTILE[:40])), note=HOSTILE))
    assert text.count("<script") == 1  # our own
    assert "alert(1)" in text
    assert text.count(HOSTILE) == text.count(HOSTILE[:40]) == 0
    assert not re.search(r'="[^"]*[<>]', text.replace("<style", "").replace("<script", ""))


def test_pieces_are_escaped() -> None:
    """As they are put together by other pages."""
    pieces = preformatted(HOSTILE, HOSTILE) + action_row(Action(HOSTILE, HOSTILE)) + facts_list([(HOSTILE, HOSTILE)])
    assert "<script" not in pieces
    assert unescape(pieces).count(HOSTILE) == 6


def test_a_text_to_copy() -> None:
    """It can be scrolled without a mouse, and has a name."""
    assert preformatted("x", "what") == '<pre tabindex="0" role="region" aria-label="what">x</pre>'


def test_a_page_without_extras_has_none() -> None:
    """No empty lists, paragraphs or notes."""
    text = text_of(Page("Heading", "").response())
    for element in ("<p>", "<dl>", "actions", "<footer>", "http-equiv", "<form", 'class="sign', "<script", "<img"):
        assert element not in body_of(text)
    assert "<link" not in text
    assert facts_list([("Groups", "")]) == "<dl></dl>"


def test_pages_are_accessible() -> None:
    """A language, a title, a viewport, landmarks, one heading, and pictures that are not read out."""
    text = text_of(Page(*texts.DENIED).response(403), Frame(note="Request 1"))
    assert text.startswith('<!doctype html><html lang="en">')
    assert f"<title>{texts.DENIED[0]} – oidcgate</title>" in text
    assert 'name="viewport"' in text
    for element in ("<h1>", "<header>", "<main>", "<footer>"):
        assert text.count(element) == 1
    assert text.count("<svg") == text.count('aria-hidden="true"') == 2


def test_whose_page_it_is() -> None:
    """Logo, name and colour, the name in the title too, and the number of the request."""
    text = text_of(Page("A", "B").response(), OURS)
    assert "<title>A – Acme &lt;b&gt;</title>" in text
    logo = OURS.look.logo_url
    assert f'<header><img class="logo" src="{logo}" alt=""><span>Acme &lt;b&gt;</span></header>' in text
    assert f'<link rel="icon" href="{logo}">' in text
    assert "--accent:#0b6e4f" in text
    assert "<footer><p>Request 1</p></footer>" in text
    assert MARK in text_of(Page("A", "B").response())


def test_pictures_come_from_here_and_only_where_there_is_one() -> None:
    """The policy allows no more than the page has."""
    assert policy_of(Page("A", "B").response(), OURS)["img-src"] == "'self'"
    assert "img-src" not in policy_of(Page("A", "B").response())


@pytest.mark.parametrize(
    ("page", "status", "sign"),
    [
        (Page("A", ""), 200, Sign.NONE),
        (Page("A", ""), 403, Sign.CLOSED),
        (Page("A", ""), 404, Sign.TROUBLE),
        (Page("A", "", refresh=5), 503, Sign.WAIT),
        (Page("A", "", sign=Sign.DONE), 200, Sign.DONE),
        (Page("A", "", sign=Sign.TROUBLE), 403, Sign.TROUBLE),
    ],
)
def test_signs(page: Page, status: int, sign: Sign) -> None:
    """What kind of news it is shows in a picture, not in a colour alone."""
    assert re.findall(r'class="sign (\w+)"', text_of(page.response(status))) == [sign.name.lower()] * bool(sign.value)


def test_actions_of_the_same_name() -> None:
    """Are told apart by those who hear them."""
    assert Action("End", "/x", about="Firefox").html() == (
        '<a class="button" href="/x">End<span class="heard"> Firefox</span></a>'
    )


@pytest.mark.parametrize("word", ["http://", "https://", "//", "url(", "@import"])
def test_nothing_comes_from_elsewhere(word: str) -> None:
    """A page needs no other site, so its policy allows none."""
    for frame in (Frame(), OURS):
        assert word not in text_of(Page("A", "B").response(), frame).replace("<!doctype html>", "")


@pytest.mark.parametrize(
    "asked", ["(prefers-color-scheme:dark)", "(prefers-reduced-motion:reduce)", "(forced-colors:active)"]
)
def test_the_style_follows_what_people_asked_for(asked: str) -> None:
    """Dark or light, without movement, and in colours of their own."""
    assert f"@media {asked}" in text_of(Page("A", "B").response())


def test_a_form_may_lead_on() -> None:
    """Origins that a form's answer may redirect to are in the policy."""
    response = Page("A", "B").response(form_origins=["https://dex.example.com"])
    assert policy_of(response)["form-action"] == "'self' https://dex.example.com"


def test_what_no_page_may() -> None:
    """Be framed, have another base, run, load or send anything else."""
    policy = policy_of(Page("A", "B", actions=[Action("C", "/", fields=())]).response())
    style = policy.pop("style-src")
    assert re.fullmatch(r"'nonce-[\w-]{22}'", style)
    assert policy == {
        "default-src": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }


def test_the_start_page() -> None:
    """Its script has a fresh nonce, its link is escaped, and it goes on without scripts."""
    first, second = start_page('/oauth2/start?rd=%2F"&f='), start_page("/x")
    text = text_of(first)
    assert '<body class="passing">' in text
    assert '<noscript><meta http-equiv="refresh" content="0;url=/oauth2/start?rd=%2F&quot;&amp;f="></noscript>' in text
    assert 'id="go" href="/oauth2/start?rd=%2F&quot;&amp;f="' in text
    nonce = first.headers["Content-Security-Policy"].partition("script-src 'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in text
    assert nonce not in text_of(second)


def test_a_page_that_tries_again() -> None:
    """By a script that can be stopped, or by the browser where there are no scripts; others have no script."""
    text = text_of(Page("A", "B", refresh=5, refresh_url="/c?d&e").response(503))
    assert '<noscript><meta http-equiv="refresh" content="5;url=/c?d&amp;e"></noscript>' in text
    assert f'data-after="5" data-url="/c?d&amp;e" data-stop="{texts.STOP_TRYING}"' in text
    assert "script-src" in policy_of(Page("A", "B", refresh=5).response())
    assert "script-src" not in policy_of(Page("A", "B").response())


def test_own_headers_on_https() -> None:
    """HSTS goes with https only."""
    response = redirect("https://dash.example.com/", status=303)
    own_headers(response, secure=True)
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert response.headers["Server"] == "oidcgate"
    plain = json_response(200, {"a": "é"})
    own_headers(plain, secure=False)
    assert "Strict-Transport-Security" not in plain.headers
    assert plain.text == '{"a": "\\u00e9"}'
