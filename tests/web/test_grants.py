"""One token set a person: renewed once, ahead of time, never sent when it has run out, never lost."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest

from oidcgate.demo.issuer import DEMO_PEOPLE
from oidcgate.errors import StoreUnavailable
from oidcgate.session.store import Stored
from oidcgate.stores.memory import MemoryStore
from oidcgate.web import grants as grants_module
from oidcgate.web.grants import SharedGrant
from oidcgate.web.lease import Lease
from oidcgate.web.sessions import IN_USE
from tests.support.browser import Browser
from tests.support.raw import connect, request
from tests.support.stack import Stack
from tests.web.steps import (
    ask,
    clocked,
    gate_of,
    hurry,
    intercept_store,
    is_signed_in,
    lives,
    look_again,
    quick_stack,
    the_live,
    turn,
)

LIFE = 3600  # seconds an ID token lives in these tests
DUE = LIFE - 100  # by then it is to be renewed


async def renewals_over(stack: Stack) -> None:
    """Wait for what the gate does in the background."""
    tasks = gate_of(stack).grants._tasks
    while tasks:
        await asyncio.wait(tasks)
        await asyncio.sleep(0)


def the_grant(stack: Stack) -> SharedGrant:
    """The only grant in memory."""
    (shared,) = gate_of(stack).grants._shared.values()
    return shared


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for another process's result without a pause."""
    monkeypatch.setattr(grants_module, "LEASE_POLL", 0.001)


@pytest.fixture
async def timed() -> Any:
    """A stack and its clock; tokens live an hour, sessions longer."""
    async with clocked(issuer={"id_token_life": LIFE}, config={"session": {"idle": "12h", "lifetime": "24h"}}) as both:
        yield both


async def test_fifty_requests_at_expiry_cause_one_renewal(timed: Any) -> None:
    """However many wait, the issuer is asked once, and each gets its answer with a fresh token."""
    stack, clock = timed
    browser = await stack.browser()
    calls = stack.issuer.calls["token"]
    turn(stack, clock, LIFE + 5)
    pages = await asyncio.gather(*(ask(browser, stack) for _ in range(50)))
    assert Counter(page.status for page in pages) == {200: 50}
    assert stack.issuer.calls["token"] == calls + 1
    assert stack.ui.expired_tokens == 0


async def test_renewal_ahead_of_expiry_delays_nobody(timed: Any) -> None:
    """When a token is due its request goes on with it, while the new one is fetched in the background."""
    stack, clock = timed
    browser = await stack.browser()
    calls = stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token")
    turn(stack, clock, DUE)
    for _ in range(3):
        assert (await ask(browser, stack)).status == 200
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    stack.issuer.release()
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls + 1
    before = stack.ui.arrivals[-1].token_exp
    assert (await ask(browser, stack)).status == 200
    assert stack.ui.arrivals[-1].token_exp > before


async def test_what_is_due_is_renewed_without_a_request(timed: Any) -> None:
    """The per-second work renews the tokens of sessions in use, and leaves alone those that nobody uses."""
    stack, clock = timed
    await stack.browser()
    calls = stack.issuer.calls["token"]
    turn(stack, clock, DUE)
    live = the_live(stack)
    live.seen = clock() - IN_USE
    await gate_of(stack).look_after()
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls
    live.seen = clock()
    await gate_of(stack).look_after()
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls + 1


async def test_a_renewal_outlives_the_request_that_caused_it(timed: Any) -> None:
    """A browser that goes away takes no rotated refresh token along."""
    stack, clock = timed
    browser = await stack.browser()
    calls = stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token:reply")
    turn(stack, clock, LIFE + 5)
    wire = await connect(stack.port)
    await wire.send(
        request("/api/v1/me", host=f"localhost:{stack.port}", headers={"Cookie": browser.cookie_header(stack.url)})
    )
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    await wire.close()
    stack.issuer.release()
    await renewals_over(stack)
    assert (await ask(browser, stack)).status == 200
    assert stack.issuer.calls["token"] == calls + 1


async def test_a_waiter_that_is_cancelled_takes_no_renewal_along(timed: Any) -> None:
    """Cancelling one of those who wait ends its waiting, and nothing else."""
    stack, clock = timed
    await stack.browser()
    shared, grants, calls = the_grant(stack), gate_of(stack).grants, stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token:reply")
    turn(stack, clock, LIFE + 5)
    waiter, other = (asyncio.create_task(grants.wait_for_renewal(shared)) for _ in range(2))
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    waiter.cancel()
    await asyncio.wait([waiter])
    stack.issuer.release()
    await other
    assert waiter.cancelled()
    assert shared.usable_until > clock()
    assert stack.issuer.calls["token"] == calls + 1


async def test_the_new_refresh_token_is_stored_before_anything_else(timed: Any) -> None:
    """The old one is dead by then: it is written first, and only then the ID token is checked and used."""
    stack, clock = timed
    browser = await stack.browser()
    store = intercept_store(stack)
    provider = gate_of(stack).providers.by_id("")
    verify, order = provider.verify, store.events

    async def noted(*args: Any, **options: Any) -> Any:
        order.append("verify")
        return await verify(*args, **options)

    provider.verify = noted
    turn(stack, clock, LIFE + 5)
    assert (await ask(browser, stack)).status == 200
    assert [event for event in order if event != "put session"] == ["put lease", "put grant", "verify", "put grant"]


async def test_a_renewal_survives_keys_that_cannot_be_had(timed: Any) -> None:
    """The rotated refresh token is safe although the new ID token could not be checked yet."""
    stack, clock = timed
    browser = await stack.browser()
    assert (await ask(browser, stack)).status == 200  # the UI has its keys
    stack.issuer.rotate_keys()
    stack.issuer.quirks.drop.add("keys")
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert the_grant(stack).failures == 1
    stack.issuer.quirks.drop.clear()
    turn(stack, clock, 200)
    assert (await ask(browser, stack)).status == 200
    assert stack.ui.expired_tokens == 0


async def test_a_lost_reply_costs_one_more_login_at_most(timed: Any) -> None:
    """Dex has rotated, the reply is lost: the session lives to its token's end, then the person passes through."""
    stack, clock = timed
    browser = await stack.browser()
    stack.issuer.quirks.drop.add("token:reply")
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    stack.issuer.quirks.drop.clear()
    turn(stack, clock, 50)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    turn(stack, clock, 100)
    assert (await ask(browser, stack)).status == 401
    assert (await browser.sign_in(stack.url + "/")).status == 200
    assert stack.ui.expired_tokens == 0


async def test_a_final_refusal_lets_the_tokens_run_out(timed: Any) -> None:
    """400 invalid_request is Dex's word for a dead refresh token: no further call, the session goes on to exp."""
    stack, clock = timed
    browser = await stack.browser()
    stack.issuer.refresh_tokens.revoke("demo-0001")
    calls = stack.issuer.calls["token"]
    turn(stack, clock, DUE)
    for _ in range(3):
        assert (await ask(browser, stack)).status == 200
        await renewals_over(stack)
        look_again(stack)
    assert stack.issuer.calls["token"] == calls + 1
    assert not the_grant(stack).can_renew
    turn(stack, clock, 200)
    page = await browser.open(stack.url + "/")
    assert "password" in page.text
    assert stack.ui.expired_tokens == 0
    assert not lives(stack)


async def test_without_a_refresh_token_the_session_runs_to_exp() -> None:
    """Some connectors give none: no call is made, and after the token's end the person signs in again."""
    async with clocked(
        issuer={"id_token_life": LIFE}, config={"provider": {"scopes": ["openid", "email", "groups"]}}
    ) as (stack, clock):
        browser = await stack.browser()
        turn(stack, clock, DUE)
        assert (await ask(browser, stack)).status == 200
        turn(stack, clock, 200)
        assert (await ask(browser, stack)).status == 401
        assert stack.issuer.calls["token"] == 1


async def test_a_provider_that_renews_no_id_token(timed: Any) -> None:
    """OIDC Core §12.2 allows a reply without one: then there is nothing to renew, and nobody is thrown out for it."""
    stack, clock = timed
    browser = await stack.browser()
    stack.issuer.quirks.token_reply = lambda reply: {k: v for k, v in reply.items() if k != "id_token"}
    turn(stack, clock, DUE)
    for _ in range(2):
        assert (await ask(browser, stack)).status == 200
        await renewals_over(stack)
        look_again(stack)
    turn(stack, clock, 200)
    assert (await ask(browser, stack)).status == 401


@pytest.mark.parametrize(("kind", "value"), [("fail", 500), ("fail", 503), ("drop", 0), ("hang", 0)])
async def test_a_passing_failure_changes_nothing_and_backs_off(timed: Any, kind: str, value: int) -> None:
    """An outage of the issuer signs nobody out, costs no call a request, and is forgotten once it is over."""
    stack, clock = timed
    browser = await stack.browser()
    hurry(stack)
    quirks, calls = stack.issuer.quirks, stack.issuer.calls["token"]
    if kind == "fail":
        quirks.fail["token"] = value
    else:
        getattr(quirks, kind).add("token")
    turn(stack, clock, DUE)
    for _ in range(5):
        assert (await ask(browser, stack)).status == 200
        await renewals_over(stack)
        look_again(stack)
    assert stack.issuer.calls["token"] == calls + 1
    turn(stack, clock, 3)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls + 2
    quirks.fail.clear()
    quirks.drop.clear()
    quirks.release()
    turn(stack, clock, 60)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert the_grant(stack).failures == 0
    assert the_grant(stack).usable_until > clock() + LIFE / 2
    assert await is_signed_in(browser, stack)


async def test_after_exp_an_outage_answers_503_and_keeps_the_session(timed: Any) -> None:
    """With the token gone and the issuer away: 503, a page or JSON, the cookie untouched; later all is well."""
    stack, clock = timed
    browser = await stack.browser()
    handle = browser.cookie("oidcgate")
    await stack.issuer.stop()
    turn(stack, clock, LIFE + 5)
    page = await browser.open(stack.url + "/")
    assert page.status == 503
    assert page.reply.value("Retry-After") == "5"
    assert '<meta http-equiv="refresh" content="5">' in page.text
    assert not page.reply.values("Set-Cookie")
    reply = await ask(browser, stack)
    assert reply.status == 503
    assert reply.reply.value("Retry-After") == "5"
    assert '"provider_unavailable"' in reply.text
    assert browser.cookie("oidcgate") == handle
    await stack.issuer.start()
    turn(stack, clock, 60)
    assert (await ask(browser, stack)).status == 200
    assert browser.cookie("oidcgate") == handle
    assert stack.ui.expired_tokens == 0


async def test_after_exp_a_broken_answer_is_an_outage_too(timed: Any) -> None:
    """An ingress that answers in the issuer's place: 503 as if there were no answer, and the session stays."""
    stack, clock = timed
    browser = await stack.browser()
    stack.issuer.quirks.fail["token"] = 500
    turn(stack, clock, LIFE + 5)
    for _ in range(2):
        page = await ask(browser, stack)
        assert (page.status, page.reply.value("Retry-After")) == (503, "5")
    stack.issuer.quirks.fail.clear()
    turn(stack, clock, 60)
    assert (await ask(browser, stack)).status == 200


async def test_a_token_that_runs_out_while_the_store_is_asked(timed: Any) -> None:
    """A store that takes its time costs time only: the token is judged when the answer is there."""
    stack, clock = timed
    browser = await stack.browser()
    store = intercept_store(stack)
    read = store.get

    async def slow(key: str) -> Stored | None:
        clock.ahead += 300
        store.get = read  # type: ignore[method-assign]
        return await read(key)

    turn(stack, clock, LIFE - 200)
    look_again(stack, at_the_store=True)
    store.get = slow  # type: ignore[method-assign]
    assert (await ask(browser, stack)).status == 200
    assert store.get == read
    assert stack.ui.expired_tokens == 0


async def test_no_expired_token_reaches_the_ui() -> None:
    """With tokens that live for seconds, real time and requests without a pause, none arrives late."""
    async with quick_stack(issuer={"id_token_life": 4}) as stack:
        browser = await stack.browser()
        calls, answered = stack.issuer.calls["token"], 0
        while stack.issuer.calls["token"] < calls + 2:
            page = await ask(browser, stack)
            assert page.status == 200
            answered += 1
        assert answered > 10
        assert stack.ui is not None
        assert stack.ui.expired_tokens == 0


# Sharing


async def test_two_browsers_share_one_grant(timed: Any) -> None:
    """A second login ends the first one's refresh token at Dex, yet both browsers go on, with one renewal."""
    stack, clock = timed
    first, second = await stack.browser(), await stack.browser()
    assert len({id(live.shared) for live in lives(stack)}) == 1
    calls = stack.issuer.calls["token"]
    turn(stack, clock, LIFE + 5)
    pages = await asyncio.gather(*(ask(browser, stack) for browser in (first, second) * 5))
    assert {page.status for page in pages} == {200}
    assert stack.issuer.calls["token"] == calls + 1


async def test_people_share_nothing(timed: Any) -> None:
    """Each person has a token of their own."""
    stack, _ = timed
    alice, bob = await stack.browser(), await stack.browser("bob")
    assert '"alice@example.com"' in (await ask(alice, stack)).text
    assert '"bob@example.com"' in (await ask(bob, stack)).text


async def test_a_login_during_a_renewal_wins(timed: Any) -> None:
    """The renewal's refresh token was killed by the login, so it must not replace the login's."""
    stack, clock = timed
    first = await stack.browser()
    calls = stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token:reply")
    turn(stack, clock, DUE)
    assert (await ask(first, stack)).status == 200
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    stack.issuer.quirks.hang.clear()
    second = await stack.browser()
    stack.issuer.release()
    await renewals_over(stack)
    turn(stack, clock, LIFE + 5)
    assert (await ask(first, stack)).status == 200
    assert (await ask(second, stack)).status == 200
    assert the_grant(stack).can_renew


async def test_a_login_between_storing_and_checking_wins(timed: Any) -> None:
    """Also when the login falls between the two writes of a renewal."""
    stack, clock = timed
    first = await stack.browser()
    provider = gate_of(stack).providers.by_id("")
    verify, seconds = provider.verify, []

    async def interrupted(*args: Any, **options: Any) -> Any:
        provider.verify = verify
        seconds.append(await stack.browser())
        return await verify(*args, **options)

    provider.verify = interrupted
    turn(stack, clock, DUE)
    assert (await ask(first, stack)).status == 200
    await renewals_over(stack)
    turn(stack, clock, LIFE + 5)
    assert (await ask(first, stack)).status == 200
    assert (await ask(seconds[0], stack)).status == 200


async def test_a_sign_out_during_a_renewal_leaves_nothing(timed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last session ended meanwhile: nothing is stored again, and the new refresh token is given back."""
    stack, clock = timed
    browser = await stack.browser()
    provider, revoked = gate_of(stack).providers.by_id(""), []

    async def revoke(token: str) -> None:
        revoked.append(token)

    monkeypatch.setattr(provider, "revoke", revoke)
    calls = stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token:reply")
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    key = the_grant(stack).grant.key
    await gate_of(stack).sessions.end(the_live(stack), "for a test")
    stack.issuer.release()
    await renewals_over(stack)
    assert await gate_of(stack).store.get(key) is None
    assert len(set(revoked)) == 2  # the one that was stored, and the one that came


async def test_a_sign_out_before_a_renewal_asks_nobody(timed: Any) -> None:
    """A grant that is gone is not renewed."""
    stack, clock = timed
    browser = await stack.browser()
    calls, shared = stack.issuer.calls["token"], the_grant(stack)
    await gate_of(stack).sessions.end(the_live(stack), "for a test")
    turn(stack, clock, DUE)
    gate_of(stack).grants.begin_renewal(shared)
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls
    assert (await ask(browser, stack)).status == 401


# Several processes


async def test_a_renewal_elsewhere_is_waited_for(timed: Any) -> None:
    """Who does not get the lease takes over what its holder stores, without a call of its own."""
    stack, clock = timed
    browser = await stack.browser()
    shared, store = the_grant(stack), intercept_store(stack)
    lease = f"lease:{shared.grant.key}"
    await store.put(lease, b"1", life=10 * LIFE)
    calls = stack.issuer.calls["token"]
    turn(stack, clock, LIFE + 5)
    asked = asyncio.create_task(ask(browser, stack))
    await _until(lambda: shared.renewing is not None)
    gets = store.gets
    await _until(lambda: store.gets > gets + 4)
    grants = gate_of(stack).grants
    longer = replace(shared.grant.claims, expires=clock() + LIFE)
    changed = await grants._change(shared.grant.key, lambda old: old and replace(old, claims=longer))
    assert changed is not None
    await asked
    await store.delete(lease)
    assert stack.issuer.calls["token"] == calls
    assert shared.usable_until > clock()


async def test_a_renewal_elsewhere_that_ends_between_two_looks(timed: Any) -> None:
    """The lease is gone, and the new tokens are there."""
    stack, clock = timed
    await stack.browser()
    shared, grants = the_grant(stack), gate_of(stack).grants
    longer = replace(shared.grant.claims, expires=clock() + 2 * LIFE + LIFE)
    await grants._change(shared.grant.key, lambda old: old and replace(old, claims=longer))
    calls = stack.issuer.calls["token"]
    await grants._follow(shared, Lease(gate_of(stack).store, "none"))
    assert shared.grant.claims.expires == longer.expires
    assert stack.issuer.calls["token"] == calls


async def test_a_lease_whose_holder_died_is_taken_over(timed: Any) -> None:
    """When the lease goes and nothing new was stored, the next one renews."""
    stack, clock = timed
    browser = await stack.browser()
    shared, store = the_grant(stack), intercept_store(stack)
    lease = f"lease:{shared.grant.key}"
    await store.put(lease, b"1", life=10 * LIFE)
    turn(stack, clock, LIFE + 5)
    asked = asyncio.create_task(ask(browser, stack))
    await _until(lambda: shared.renewing is not None)
    gets = store.gets
    await _until(lambda: store.gets > gets + 2)
    await store.delete(lease)
    assert (await asked).status == 200


async def test_a_failure_is_told_while_the_lease_is_held(timed: Any) -> None:
    """Who waits for the lease finds the pause in the store, and does not try at once what has just failed."""
    stack, clock = timed
    browser = await stack.browser()
    store, told = intercept_store(stack), []
    inner, lease = cast(MemoryStore, store.inner), f"lease:{the_grant(stack).grant.key}"
    store.before_put = lambda key: told.append(lease in inner._items) if key.startswith("pause:") else None
    stack.issuer.quirks.fail["token"] = 503
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert told == [True]


async def test_the_failure_of_another_process_is_not_ours(timed: Any) -> None:
    """It is heeded, but makes no pause of ours longer: we may be the first to succeed."""
    stack, clock = timed
    browser = await stack.browser()
    shared, store = the_grant(stack), intercept_store(stack)
    pause = f"pause:{shared.grant.key}"
    calls = stack.issuer.calls["token"]
    clock.ahead += DUE
    await store.put(pause, b"1", life=LIFE)
    for _ in range(3):
        turn(stack, clock, 1)
        assert (await ask(browser, stack)).status == 200
        await renewals_over(stack)
        assert shared.next_try - clock() <= 1
    assert stack.issuer.calls["token"] == calls
    await store.delete(pause)
    turn(stack, clock, 1)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls + 1


async def test_a_token_set_that_somebody_else_renewed_is_adopted(timed: Any) -> None:
    """The store is read again before the provider is asked."""
    stack, clock = timed
    browser = await stack.browser()
    shared, grants = the_grant(stack), gate_of(stack).grants
    other = replace(shared.grant.claims, expires=clock() + 3 * LIFE)
    await grants._change(shared.grant.key, lambda old: old and replace(old, claims=other, id_token="a.b.c"))
    calls = stack.issuer.calls["token"]
    turn(stack, clock, LIFE + 5)
    the_live(stack).checked = clock()
    await ask(browser, stack)
    assert stack.issuer.calls["token"] == calls
    assert shared.grant.id_token == "a.b.c"


async def test_a_final_refusal_counts_only_for_the_token_it_was_about(timed: Any) -> None:
    """Somebody stored another refresh token meanwhile: that one is kept."""
    stack, clock = timed
    browser = await stack.browser()
    calls = stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token")
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    stack.issuer.quirks.hang.clear()
    await stack.browser()  # kills the refresh token that is being presented
    stack.issuer.release()
    await renewals_over(stack)
    assert the_grant(stack).can_renew


async def test_a_grant_that_changes_all_the_time_is_an_outage(timed: Any) -> None:
    """Compare-and-set gives up at some point."""
    stack, _ = timed
    await stack.browser()
    store, grants = intercept_store(stack), gate_of(stack).grants

    async def conflict(*_args: Any, **_options: Any) -> None:
        return None

    store.put = conflict  # type: ignore[assignment,method-assign]
    with pytest.raises(StoreUnavailable):
        await grants._change(the_grant(stack).grant.key, lambda old: old)


async def test_a_grant_whose_record_cannot_be_opened_is_replaced_by_a_login(stack: Stack) -> None:
    """A broken record is no session, and does not stand in the way of the next login."""
    browser = await stack.browser()
    gate = gate_of(stack)
    await gate.store.put(the_grant(stack).grant.key, b"broken", life=1000)
    look_again(stack, at_the_store=True)
    assert (await ask(browser, stack)).status == 401
    assert (await browser.sign_in(stack.url + "/")).status == 200


async def test_a_provider_that_is_no_longer_configured_is_not_asked(timed: Any) -> None:
    """Tokens of such a provider run to their end; leaving them revokes nothing."""
    stack, clock = timed
    browser = await stack.browser()
    calls = stack.issuer.calls["token"]
    gate_of(stack).providers._ids.clear()
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert not the_grant(stack).can_renew
    await gate_of(stack).sessions.end(the_live(stack), "for a test")
    assert stack.issuer.calls["token"] == calls


async def test_a_store_that_fails_with_a_fresh_token_set_in_hand_loses_nothing(timed: Any) -> None:
    """The rotated refresh token waits in memory until it can be stored."""
    stack, clock = timed
    browser = await stack.browser()
    store = intercept_store(stack)
    store.before_put = lambda key: setattr(store, "is_down", key.startswith("grant:"))
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    store.before_put = lambda _key: None
    store.is_down = False
    calls = stack.issuer.calls["token"]
    turn(stack, clock, 60)  # the lease of the failed try has run out
    assert (await ask(browser, stack)).status == 200
    await renewals_over(stack)
    assert stack.issuer.calls["token"] == calls
    turn(stack, clock, LIFE + 5)
    assert (await ask(browser, stack)).status == 200
    assert stack.issuer.calls["token"] == calls + 1


async def test_a_renewal_that_brings_nothing_usable_is_an_outage(timed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No failure was told, yet the token has run out: 503, and no session is ended for it."""
    stack, clock = timed
    browser = await stack.browser()

    async def nothing(_shared: SharedGrant) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(gate_of(stack).grants, "_renew_with_lease", nothing)
        turn(stack, clock, LIFE + 5)
        assert (await ask(browser, stack)).status == 503
    assert (await ask(browser, stack)).status == 200


async def test_changed_groups_are_judged_at_once() -> None:
    """A renewal that takes a group away shuts the site for that person with the very next request."""
    async with clocked(
        issuer={"id_token_life": LIFE},
        site={"access": {"groups": ["platform-admins"]}},
        config={"session": {"idle": "12h"}},
    ) as (stack, clock):
        browser = await stack.browser()
        stack.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("others",)))
        turn(stack, clock, DUE)
        assert (await ask(browser, stack)).status == 200
        await renewals_over(stack)
        assert (await ask(browser, stack)).status == 403
        stack.issuer.replace_person(DEMO_PEOPLE[0])
        turn(stack, clock, LIFE)
        assert (await ask(browser, stack)).status == 200


async def test_reprs_show_no_token(timed: Any) -> None:
    """What a traceback or a debugger prints is not secret."""
    stack, _ = timed
    await stack.browser()
    shared, live = the_grant(stack), the_live(stack)
    shown = f"{shared!r} {shared.grant!r} {live!r} {live.session!r}"
    for secret in (shared.grant.id_token, shared.grant.refresh_token, live.handle.decode(), live.session.csrf):
        assert secret
        assert secret not in shown


async def _until(is_true: Any) -> None:
    async with asyncio.timeout(10):
        while not is_true():
            await asyncio.sleep(0)


async def test_close_waits_for_renewals(timed: Any) -> None:
    """A gate that stops finishes the renewals it has begun."""
    stack, clock = timed
    browser: Browser = await stack.browser()
    shared = the_grant(stack)
    before, calls = shared.usable_until, stack.issuer.calls["token"]
    stack.issuer.quirks.hang.add("token:reply")
    turn(stack, clock, DUE)
    assert (await ask(browser, stack)).status == 200
    await asyncio.wait_for(stack.issuer.wait_for("token", calls + 1), 10)
    closing = asyncio.create_task(gate_of(stack).grants.close())
    await asyncio.sleep(0)
    stack.issuer.release()
    await closing
    assert shared.usable_until > before
