"""A Dashboard 2.7 that would act for everybody as itself gets nothing to act on."""

from tests.support.stack import Stack


async def test_a_dashboard_that_ignores_the_bearer_gets_no_request() -> None:
    """The person reads the reason, programs get 503, and nothing but the question reached the UI."""
    async with Stack(site={"upstream": {"ui": "dashboard-2"}}, ui={"https_mode": False}) as stack:
        browser = await stack.browser(None)
        page = await browser.sign_in(f"{stack.url}/")
        assert page.status == 503
        assert "its own service account" in page.text
        answer = await browser.fetch(f"{stack.url}/api/v1/pod")
        assert answer.status == 503
        assert '"upstream_ignores_identity"' in answer.text
        assert {arrival.raw_target for arrival in stack.ui.arrivals} == {"/api/v1/login/status"}


async def test_the_way_opens_and_closes_with_the_uis_own_word() -> None:
    """A UI that is put right is passed requests again, and one that is put wrong is cut off from the quick way too."""
    async with Stack(site={"upstream": {"ui": "dashboard-2"}}) as stack:
        browser = await stack.browser()
        for _ in range(2):
            assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200
        guard = stack.gate.gate.guards[f"localhost:{stack.port}"]
        stack.ui._api._https_mode = False
        guard._ask_at = 0.0
        await stack.gate.look_after()
        assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 503
        stack.ui._api._https_mode = True
        guard._ask_at = 0.0
        assert (await browser.fetch(f"{stack.url}/api/v1/me")).status == 200


async def test_other_uis_are_not_asked() -> None:
    """Only the Dashboard 2.7 can ignore a bearer."""
    async with Stack(site={"upstream": {"ui": "dashboard-7"}}) as stack:
        assert stack.gate.gate.guards == {}
