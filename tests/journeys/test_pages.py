"""The demo's pages: for everybody who looks, tabs or listens, and without a word from elsewhere."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.journeys import ways
from tests.support.chromium import People, Person
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ACCESSIBLE = (Path(__file__).parent.parent / "support" / "accessible.js").read_text()
PHONE = {"width": 320, "height": 640}
MOST_STOPS = 12  # of the tab key on one page

Way = Callable[[Person, Stack], Awaitable[Page]]


PAGES: dict[str, tuple[Way, int | None, str]] = {
    # how one gets there, the status of the document, the heading
    "issuer_form": (ways.issuer_form, 200, "Demo identity provider"),
    "issuer_failed": (ways.issuer_failed, 200, "Demo identity provider"),
    "ui_overview": (ways.overview, None, "Overview"),
    "ui_pods": (ways.pods, None, "Pods"),
    "ui_log": (ways.log, None, "cart-7d9f5c8b6d-x2x7k"),
    "ui_terminal": (ways.terminal, None, "cart-7d9f5c8b6d-x2x7k"),
    "ui_forbidden": (ways.forbidden, None, "Pods"),
}


async def problems_of(page: Page) -> list[str]:
    """What is wrong with a page: light, dark, tabbed through, and on a narrow phone."""
    problems = []
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        problems += [f"{scheme}: {problem}" for problem in await page.evaluate(ACCESSIBLE)]
        for _ in range(MOST_STOPS):
            await page.keyboard.press("Tab")
            problems += [f"{scheme}: {problem}" for problem in await page.evaluate(ACCESSIBLE) if "focus" in problem]
            if await page.evaluate("document.activeElement === document.body"):
                break
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    width = await page.evaluate("document.documentElement.scrollWidth")
    if width > PHONE["width"]:
        problems.append(f"the page is {width} px wide on a screen of {PHONE['width']}")
    return list(dict.fromkeys(problems))


@pytest.mark.parametrize("name", PAGES)
async def test_page(people: People, name: str) -> None:
    """A page is what it should be, good to read and to use for everybody, and asks nothing of other sites."""
    way, status, heading = PAGES[name]
    person = await people(reduced_motion="reduce")
    async with Stack(ui={"tick": 0.1}, issuer={"hints": True}) as stack:
        page = await way(person, stack)
        await expect(page.locator("h1")).to_have_text(heading)
        assert await problems_of(page) == []
        if status is not None:
            documents = [line for line in await person.chain() if line.startswith(str(status))]
            assert documents[-1].endswith(page.url.partition("?")[0].partition("#")[0])
        assert person.complaints == []
        assert person.origins <= {stack.url, stack.issuer.url.removesuffix("/dex")}
        await page.close()
