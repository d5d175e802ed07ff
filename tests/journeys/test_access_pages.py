"""The small form on the page about rights in the cluster, in Chromium."""

import pytest
from playwright.async_api import expect

from oidcgate.web import texts
from tests.journeys.steps import fill_in
from tests.support.apiserver import clustered
from tests.support.chromium import People

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RIGHTS = {"oidc:platform-admins": {("get", "pods"), ("list", "pods"), ("get", "services/proxy")}}


async def test_another_namespace(people: People) -> None:
    """The form is filled in and sent by keyboard; what is to be copied follows it."""
    person = await people()
    async with clustered(rights=RIGHTS) as (stack, api):
        page = await person.tab(f"{stack.url}/oauth2/access")
        await fill_in(page, "alice")
        await page.get_by_label("For whom").select_option("User oidc:alice@example.com")
        await page.get_by_label("Role to ask for").select_option("edit")
        await page.get_by_role("textbox", name="Namespace").fill("shop")
        await page.keyboard.press("Enter")
        await expect(page.locator("h2").first).to_have_text(texts.RIGHTS_IN.format("shop"))
        await expect(page.locator("pre").first).to_contain_text("name: oidc:alice@example.com")
        await expect(page.locator("pre").first).to_contain_text("namespace: shop")
        await expect(page.get_by_label("Role to ask for")).to_have_value("edit")
        assert api.bodies[-1]["spec"] == {"namespace": "shop"}
        assert person.complaints == []
        await page.close()
