"""Pages: whatever comes from outside is text, and each has a policy of its own."""

import re

import pytest

from oidcgate.web import texts
from oidcgate.web.pages import Action, Page, json_response, own_headers, redirect, start_page

HOSTILE = "</title><script>alert(1)</script>\"'&"


def text_of(page: Page) -> str:
    """The document."""
    text = page.response().text
    assert text is not None
    return text


def test_everything_is_escaped() -> None:
    """Headings, sentences, facts, notes, labels, addresses and fields."""
    page = Page(
        HOSTILE,
        HOSTILE,
        actions=[Action(HOSTILE, f"/{HOSTILE}"), Action(HOSTILE, f"/{HOSTILE}", fields=((HOSTILE, HOSTILE),))],
        facts=[(HOSTILE, HOSTILE)],
        note=HOSTILE,
        refresh=5,
        refresh_url=f"/{HOSTILE}",
    )
    text = text_of(page)
    assert "<script" not in text
    assert "alert(1)" in text
    assert text.count(HOSTILE) == 0
    assert not re.search(r'="[^"]*[<>]', text.replace("<style", ""))


def test_a_page_without_extras_has_none() -> None:
    """No empty lists, paragraphs or notes."""
    text = text_of(Page("Heading", ""))
    for element in ("<p>", "<dl>", "actions", "<small>", "http-equiv", "<form"):
        assert element not in text.partition("</style>")[2]


def test_pages_are_accessible() -> None:
    """A language, a title, a viewport, one heading, and a picture that is not read out."""
    text = text_of(Page(*texts.DENIED))
    assert text.startswith('<!doctype html><html lang="en">')
    assert f"<title>{texts.DENIED[0]}</title>" in text
    assert 'name="viewport"' in text
    assert text.count("<h1>") == 1
    assert 'aria-hidden="true"' in text
    assert "<main" in text


@pytest.mark.parametrize("word", ["http://", "https://", "//", "url(", "@import"])
def test_nothing_comes_from_elsewhere(word: str) -> None:
    """A page needs no other request, so its policy allows none."""
    assert word not in text_of(Page("A", "B")).replace("<!doctype html>", "")


def test_the_style_knows_dark_and_light() -> None:
    """Colours follow the person's choice, and movement stops for those who ask for that."""
    text = text_of(Page("A", "B"))
    assert "prefers-color-scheme" in text or "light-dark(" in text


def test_a_form_may_lead_on() -> None:
    """Origins that a form's answer may redirect to are in the policy."""
    response = Page("A", "B").response(form_origins=["https://dex.example.com"])
    assert "form-action 'self' https://dex.example.com;" in response.headers["Content-Security-Policy"]


def test_the_start_page_is_the_only_one_with_a_script() -> None:
    """Its nonce is fresh, and its link is escaped."""
    first, second = start_page('/oauth2/start?rd=%2F"&f='), start_page("/x")
    assert first.text is not None
    assert "&quot;&amp;f=" in first.text
    assert first.headers["Content-Security-Policy"] != second.headers["Content-Security-Policy"]
    assert "script-src 'nonce-" in first.headers["Content-Security-Policy"]
    assert "script-src" not in Page("A", "B").response().headers["Content-Security-Policy"]


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
