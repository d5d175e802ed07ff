"""Every page of the gate: good to read and to use for everybody, of one family, and as docs/pages.md shows it."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from playwright.async_api import Page as Tab

from oidcgate.web import texts
from oidcgate.web.answers import RETRY_AFTER
from tests.journeys.family import LOOK, PAGES, VARIANTS, Family, Visitor
from tests.journeys.steps import fill_in
from tests.journeys.test_pages import ACCESSIBLE, PHONE
from tests.lab.npm import node_modules
from tests.support.chromium import People, Person, visit
from tests.support.png import with_palette

pytestmark = [pytest.mark.browser]

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "pages.md"
PICTURES = ROOT / "docs" / "images" / "pages"
WITH_LOOK = "with-a-look"
LARGEST = 40 << 10  # bytes of a picture
WIDTHS = {True: 860, False: 640}  # of the window in a picture, by whether the page is a wide one
HIGHEST = 1000  # px of a picture; the rest of longer pages is left out
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """async (tags) => {
  for (const animation of document.getAnimations()) animation.finish();
  const found = await axe.run(document, { runOnly: tags, resultTypes: ["violations"], preload: false });
  return found.violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
}"""
# Every control in the order of the document, marked with its number; those that scroll by keyboard are controls, too.
CONTROLS = """() => {
  const shown = [...document.querySelectorAll("a[href], button, input, select, [tabindex]")];
  const all = shown.filter((element) => element.type !== "hidden" && element.checkVisibility());
  all.forEach((element, number) => (element.dataset.number = number));
  return all.length;
}"""
FOCUSED = "() => document.activeElement.dataset.number ?? null"
# What differs from run to run, as it is shown in pictures.
SETTLED = [
    [r"Request \w+-\w+", "Request 4f2a9c-1d"],
    [r"http://(\w+)\.k8s\.localhost:\d+", "https://$1.k8s.example.com"],
    [r"(\w+)\.k8s\.localhost[:-]\d+", "$1.k8s.example.com"],
    [r"http://127\.0\.0\.1:\d+", "https://10.0.0.1:6443"],
    [r"http://localhost:\d+/dex", "https://dex.example.com"],
    [r"127\.0\.0\.1", "203.0.113.7"],
    [r"less than a minute ago · seen less than a minute ago", "2 hours ago · seen less than a minute ago"],
    [r"1[12] hours( 59 minutes)?", "9 hours 41 minutes"],
]
SETTLE = """(pairs) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    for (const [from, to] of pairs) walker.currentNode.data = walker.currentNode.data.replace(new RegExp(from, "g"), to);
}"""


class Household:
    """One gate, and somebody who is signed in to it."""

    def __init__(self, family: Family, alice: Person, tab: Tab, look: dict[str, Any]) -> None:
        self.family = family
        self.alice = alice
        self.tab = tab
        self.look = look


@pytest_asyncio.fixture(
    loop_scope="session", scope="module", params=[{}, {**LOOK, "logo_file": "logo.svg"}], ids=["plain", "look"]
)
async def household(chromium: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Household]:
    """A gate, without a look of its own and with one; for all tests here."""
    async with Family(request.param) as family:
        alice = Person(await chromium.new_context(reduced_motion="reduce"))
        tab = await alice.tab(f"{family.url}/oauth2/")
        await fill_in(tab)
        await expect(tab.locator("h1")).to_have_text(texts.LANDING[0])
        yield Household(family, alice, tab, request.param)
        await alice.context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's own script."""
    return (node_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def looked_at(page: Tab, axe: str) -> list[str]:
    """What is wrong with a page: light and dark, and on a narrow phone, which is also twice the size on a wide one."""
    await page.evaluate(axe)
    problems = []
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = [*await page.evaluate(AXE, RULES), *await page.evaluate(ACCESSIBLE)]
        problems += [f"{scheme}: {problem}" for problem in found]
    before = page.viewport_size
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    width = await page.evaluate("document.documentElement.scrollWidth")
    if width > PHONE["width"]:
        problems.append(f"the page is {width} px wide on a screen of {PHONE['width']}")
    assert before is not None
    await page.set_viewport_size(before)
    return problems


async def tabbed_through(page: Tab) -> list[str]:
    """What is wrong for somebody with a keyboard: each control is reached, in order, and seen to be."""
    problems = []
    for number in range(await page.evaluate(CONTROLS)):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        if focused != str(number):
            return [*problems, f"tab {number} leads to {focused}"]
        problems += [problem for problem in await page.evaluate(ACCESSIBLE) if "focus" in problem]
    return problems


async def photograph(page: Tab, name: str) -> None:
    """The page as docs/pages.md shows it."""
    is_wide = await page.evaluate("document.body.classList.contains('wide')")
    before = page.viewport_size
    await page.set_viewport_size({"width": WIDTHS[is_wide], "height": 320})
    await page.evaluate(SETTLE, SETTLED)
    PICTURES.mkdir(parents=True, exist_ok=True)
    size = await page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], HIGHEST)}
    photo = await page.screenshot(clip=clip, full_page=True, animations="disabled")  # type: ignore[arg-type]
    (PICTURES / f"{name}.png").write_bytes(with_palette(photo))
    assert before is not None
    await page.set_viewport_size(before)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", [*PAGES, *VARIANTS])
async def test_page(household: Household, people: People, axe: str, name: str) -> None:
    """A page is what it should be, has no fault that can be found, and asks nothing of other sites."""
    way, status, heading = {**PAGES, **VARIANTS}[name]
    stranger = await people(reduced_motion="reduce")
    household.alice.complaints.clear()
    household.alice.origins.clear()
    page = await way(Visitor(household.family, household.tab, stranger))
    await expect(page.locator("h1")).to_have_text(heading)
    shown_name = household.look.get("name", "oidcgate") if name != "kubectl-done" else "oidcgate"
    assert await page.title() == f"{heading} – {shown_name}"
    await expect(page.locator("header")).to_have_text(shown_name)
    if os.environ.get("OIDCGATE_WRITE_DOCS") == "1" and name in PAGES and (not household.look or name == "home"):
        await photograph(page, WITH_LOOK if household.look else name)
    if await page.locator("#again").count():
        await page.get_by_role("button", name=texts.STOP_TRYING).click()
        await expect(page.get_by_role("button", name=texts.GO_ON_TRYING)).to_be_focused()
        await page.locator("h1").click()  # the keyboard goes on from here
    assert await looked_at(page, axe) == []
    assert await tabbed_through(page) == []
    person = stranger if page.context is stranger.context else household.alice
    documents = [line for line in await person.chain() if line.startswith(str(status))]
    assert documents[-1].endswith(page.url.partition("?")[0].partition("#")[0])
    assert person.complaints == []
    assert {origin for origin in person.origins if not re.search(r"(k8s\.)?localhost:\d+$", origin)} == set()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_page_that_tries_again(household: Household, people: People) -> None:
    """It comes back by itself when what was away is back, with the fragment, unless it was told to stop."""
    person = await people()
    page = await person.tab()
    await page.clock.install()
    household.family.store.is_down = True
    try:
        origin = household.family.of("dev")
        await person.context.add_cookies([{"name": "oidcgate", "value": "x" * 43, "url": origin}])
        await visit(page, f"{origin}/#/pods/shop")
        await page.get_by_role("button", name=texts.STOP_TRYING).click()
        await page.clock.fast_forward("10:00")
        again = page.get_by_role("button", name=texts.GO_ON_TRYING)
        await expect(again).to_be_visible()
    finally:
        household.family.store.is_down = False
    await again.click()
    await page.clock.fast_forward(1000 * RETRY_AFTER)
    await fill_in(page)
    await page.wait_for_url(f"{origin}/#/pods/shop")
    assert person.complaints == []


@pytest.mark.asyncio(loop_scope="session")
async def test_the_logo(household: Household, people: People) -> None:
    """Is seen on the page, and opened by itself it runs nothing."""
    person = await people()
    page = await person.tab(f"{household.family.url}/oauth2/signed_out")
    logo = page.locator("img.logo")
    if not household.look:
        await expect(logo).to_have_count(0)
        return
    await expect(logo).to_be_visible()
    assert await logo.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 0
    assert person.complaints == []
    reply = await page.goto(household.family.of("dev") + str(await logo.get_attribute("src")))
    assert reply is not None
    assert reply.headers["content-type"] == "image/svg+xml"
    assert "<script>" in await reply.text()
    assert await page.evaluate("document.documentElement.dataset.ran") is None
    assert any("script" in complaint for complaint in person.complaints)


def test_every_page_is_in_the_document() -> None:
    """docs/pages.md has a section for each page, with its picture, which is a small one; and no other."""
    document = DOCUMENT.read_text(encoding="utf-8")
    shown = re.findall(r"^### (.+)\n\n!\[(.+)\]\(images/pages/([a-z-]+)\.png\)\n\n\S", document, re.MULTILINE)
    assert [(heading.partition(": ")[0], name) for heading, _, name in shown] == [
        (heading, name) for name, (_, _, heading) in PAGES.items()
    ]
    assert len({heading for heading, _, _ in shown}) == len(PAGES)  # alike ones say of which page they are
    assert f"](images/pages/{WITH_LOOK}.png)" in document
    sizes = {file.stem: file.stat().st_size for file in PICTURES.iterdir()}
    assert set(sizes) == {*PAGES, WITH_LOOK}, "run this file with OIDCGATE_WRITE_DOCS=1"
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}
