"""One token set a person: renewed once, ahead of time, never sent when it has run out, never lost."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from oidcgate.config.load import parse_config
from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer
from oidcgate.errors import AudienceRefused, InvalidIdToken, NeedsNarrowLogin, ProviderUnreachable, StoreUnavailable
from oidcgate.oidc.authorization import authorization_url
from oidcgate.oidc.idtoken import Claims
from oidcgate.oidc.tokens import TokenSet
from oidcgate.session.grant import Grant, grant_from_bytes, grant_key
from oidcgate.session.lifecycle import Limits
from oidcgate.session.seal import KeyRing
from oidcgate.session.store import Stored
from oidcgate.stores.memory import MemoryStore
from oidcgate.web import renewal as renewal_module
from oidcgate.web.grants import Grants, SharedGrant
from oidcgate.web.lease import Lease
from oidcgate.web.providers import Providers
from oidcgate.web.sessions import IN_USE
from tests.support.browser import Browser
from tests.support.raw import connect, request
from tests.support.stack import CLIENT, SECRET, Clock, Stack, signing_key
from tests.web.steps import (
    Intermediary,
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
    monkeypatch.setattr(renewal_module, "LEASE_POLL", 0.001)


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
    await grants._change(shared.grant.key, lambda old: old and old.with_token("", "a.b.c", longer, now=clock()))
    await asked
    await store.delete(lease)
    assert stack.issuer.calls["token"] == calls
    assert shared.usable_until > clock()


async def test_a_renewal_elsewhere_that_ends_between_two_looks(timed: Any) -> None:
    """The lease is gone, and the new tokens are there."""
    stack, clock = timed
    await stack.browser()
    shared, grants = the_grant(stack), gate_of(stack).grants
    before, longer = shared.token, replace(shared.grant.claims, expires=clock() + 3 * LIFE)
    await grants._change(shared.grant.key, lambda old: old and old.with_token("", "a.b.c", longer, now=clock()))
    calls = stack.issuer.calls["token"]
    assert await grants._is_renewed_elsewhere(shared, before, Lease(gate_of(stack).store, "none"))
    assert shared.claims.expires == longer.expires
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
    await grants._change(shared.grant.key, lambda old: old and old.with_token("", "a.b.c", other, now=clock()))
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

    async def nothing(*_args: Any) -> None:
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


# Audiences


CALLBACK = "http://localhost:1/oauth2/callback"
EVERY = ("", "a", "b")
RING = KeyRing([bytes(32)])


class Clusters:
    """An issuer with a client for each of two clusters, a gate's providers for both, and a store; no gate."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        peers = [Client(name, "x", (), trusted_peers=(CLIENT,)) for name in ("a", "b", "c")]
        self.issuer = DemoIssuer(
            DEMO_PEOPLE,
            [Client(CLIENT, SECRET, (CALLBACK,)), *peers],
            key=signing_key(),
            id_token_life=LIFE,
            clock=self.clock,
            auto_login="alice",
        )
        self.store = Intermediary(MemoryStore(clock=self.clock))
        self.folder = folder
        self.made: list[Grants] = []
        self.sessions = 0

    async def __aenter__(self) -> "Clusters":
        await self.issuer.start()
        self.providers = self.made_providers({"audience": "a"}, {"audience": "b"}, {})
        self.grants = self.another_process(self.providers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for grants in self.made:
            await grants.close()
            await grants._providers.close()
        await self.issuer.stop()

    def made_providers(self, *overrides: dict[str, Any], **provider: Any) -> Providers:
        """The providers of a configuration with a site for each override; they go by our clock."""
        secret = self.folder / "secret"
        secret.touch(0o600)
        secret.write_text(SECRET)
        sites = [
            {
                "url": f"http://s{n}.localhost",
                "upstream": {"url": "http://127.0.0.1:2"},
                "identity": "token" if override.get("audience") else "none",  # as the configuration wants it
                "provider": override,
            }
            for n, override in enumerate(overrides)
        ]
        base = {"issuer": self.issuer.url, "client_id": CLIENT, "client_secret_file": str(secret), **provider}
        providers: Any = Providers(parse_config({"provider": base, "sites": sites}, folder=self.folder))
        for client in providers:
            for part in (client, client._metadata, client._keys):
                part._clock = self.clock
        return cast(Providers, providers)

    def another_process(self, providers: Providers | None = None) -> Grants:
        """What another process over the same store would have."""
        limits = Limits(idle=LIFE, lifetime=24 * LIFE, refresh_ahead=60, max_per_user=2)
        providers = providers or (self.made_providers({"audience": "a"}, {"audience": "b"}, {}))
        grants = Grants(self.store, RING, providers, limits, clock=self.clock, jitter=lambda: 0.0)
        self.made.append(grants)
        return grants

    @property
    def calls(self) -> int:
        """How often the token endpoint was asked."""
        return self.issuer.calls["token"]

    async def redeem(self, only: str | None = None) -> tuple[TokenSet, Claims]:
        """A login at the issuer, for all clusters or for one."""
        provider: Any = self.providers.by_id("")
        verifier = "v" * 43
        url = authorization_url(
            await provider.metadata(),
            client_id=CLIENT,
            redirect_uri=CALLBACK,
            scopes=self.providers.login_scopes("", only),
            state="s" * 22,
            nonce=f"nonce-{self.sessions}",
            verifier=verifier,
        )
        page = await Browser().send("GET", url)
        while "code=" not in page.location:
            page = await Browser().send("GET", page.location)
        (code,) = parse_qs(urlsplit(page.location).query)["code"]
        both: tuple[TokenSet, Claims] = await provider.redeem(
            code,
            redirect_uri=CALLBACK,
            verifier=verifier,
            nonce=f"nonce-{self.sessions}",
            audiences=self.providers.login_audiences("", only),
        )
        return both

    async def login(
        self, audience: str = "", *, grants: Grants | None = None, only: str | None = None, offline: bool = True
    ) -> SharedGrant:
        """A login that leads to a session; the grant for that audience."""
        self.sessions += 1
        tokens, claims = await self.redeem(only)
        tokens = tokens if offline else replace(tokens, refresh_token=None)
        shared, _ = await (grants or self.grants).adopt_login(
            tokens,
            claims,
            issuer=self.issuer.url,
            client_id=CLIENT,
            session_key=f"session:{self.sessions}",
            ends=self.clock() + 24 * LIFE,
            audience=audience,
        )
        return shared

    async def all_of(self, shared: SharedGrant, grants: Grants | None = None) -> list[SharedGrant]:
        """The same grant for every audience."""
        loaded = [await (grants or self.grants).load(shared.grant.key, audience) for audience in EVERY]
        return [one for one in loaded if one is not None]

    async def renewed(self, shared: SharedGrant, grants: Grants | None = None) -> None:
        """Use the token of an audience: get it, or a new one."""
        await (grants or self.grants).wait_for_renewal(shared)
        assert audience_of(shared) == {shared.audience or CLIENT, CLIENT}

    async def renewed_in_vain(self, shared: SharedGrant) -> None:
        """The provider gives tokens, and the store goes away before they can be written."""
        self.store.before_put = lambda key: setattr(self.store, "is_down", key.startswith("grant:"))
        with pytest.raises(StoreUnavailable):
            await self.grants.wait_for_renewal(shared)
        self.store.before_put = lambda _key: None
        self.store.is_down = False

    async def stored(self, key: str) -> Grant:
        """The grant in the store."""
        stored = await self.store.inner.get(key)
        assert stored is not None
        return grant_from_bytes(key, RING.unseal(stored.value, purpose="grant", context=key))

    async def put(self, key: str, plain: bytes) -> None:
        """Write a record of another release."""
        sealed = RING.seal(plain, purpose="grant", context=key, nonce=bytes(12))
        await self.store.put(key, sealed, life=24 * LIFE)


def audience_of(shared: SharedGrant) -> set[str]:
    """Whom the bearer is for, as a cluster reads it."""
    assert shared.bearer.startswith(b"Authorization: Bearer ")
    claims = jwt.decode(shared.bearer.split()[-1], options={"verify_signature": False})
    return set([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])


def ignoring(claims: dict[str, Any]) -> dict[str, Any]:
    """A provider that narrows nothing."""
    return {**claims, "aud": ["a", "b", CLIENT], "azp": CLIENT}


@pytest.fixture
async def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clusters]:
    """Two clusters, at the moment before anybody signs in; whatever happens, no bearer is for more than its audience."""
    adopt = SharedGrant.adopt

    def watched(shared: SharedGrant, grant: Grant, version: int, due: float) -> None:
        adopt(shared, grant, version, due)
        assert not shared.bearer or audience_of(shared) == {shared.audience or CLIENT, CLIENT}

    monkeypatch.setattr(SharedGrant, "adopt", watched)
    async with Clusters(tmp_path) as clusters:
        yield clusters


async def test_the_first_use_of_each_audience_is_one_refresh(clusters: Clusters) -> None:
    """A login for all clusters brings a token for none; each gets one of its own when it is used."""
    everywhere = await clusters.all_of(await clusters.login("a"))
    assert clusters.calls == 1
    for shared in everywhere:
        assert (shared.bearer, shared.usable_until, shared.due, shared.can_renew) == (b"", 0.0, 0.0, True)
        assert shared.claims is shared.grant.claims
        assert set(shared.claims.audience) == {"a", "b", CLIENT}
    for count, shared in enumerate(everywhere, 2):
        await asyncio.gather(*(clusters.renewed(shared) for _ in range(5)))
        assert clusters.calls == count
        assert shared.usable_until > clusters.clock() + LIFE / 2
    assert [audience_of(shared) for shared in everywhere] == [{CLIENT}, {"a", CLIENT}, {"b", CLIENT}]
    assert everywhere[1].claims.groups == ("platform-admins",)


async def test_a_renewal_is_one_call_an_audience(clusters: Clusters) -> None:
    """At expiry each is renewed once, all at the same moment, each with the refresh token that the one before left."""
    everywhere = await clusters.all_of(await clusters.login())
    for shared in everywhere:
        await clusters.renewed(shared)
    clusters.clock.ahead += LIFE + 5
    calls, before = clusters.calls, [shared.bearer for shared in everywhere]
    await asyncio.gather(*(clusters.renewed(shared) for shared in everywhere * 5))
    assert clusters.calls == calls + 3
    assert not set(before) & {shared.bearer for shared in everywhere}
    assert all(shared.can_renew for shared in everywhere)


async def test_only_what_is_in_use_is_renewed(clusters: Clusters) -> None:
    """An audience that nobody uses costs no call."""
    shared, other, _ = await clusters.all_of(await clusters.login())
    clusters.grants.renew_those_due(lambda one: one is other)
    await asyncio.gather(*clusters.grants._tasks)
    assert clusters.calls == 2
    assert (shared.bearer, audience_of(other)) == (b"", {"a", CLIENT})


async def test_two_processes_renew_two_audiences_at_once(clusters: Clusters) -> None:
    """One after the other, however many processes there are: no refresh token is presented twice or lost."""
    here, there = clusters.grants, clusters.another_process()
    first = await clusters.login("a")
    for _ in range(3):
        mine = await clusters.all_of(first, here)
        theirs = await clusters.all_of(first, there)
        calls = clusters.calls
        await asyncio.gather(
            *(clusters.renewed(shared, here) for shared in mine),
            *(clusters.renewed(shared, there) for shared in theirs),
        )
        assert clusters.calls == calls + 3
        for one, other in zip(await clusters.all_of(first, here), await clusters.all_of(first, there), strict=True):
            assert one.bearer == other.bearer
            assert one.can_renew
        clusters.clock.ahead += LIFE + 5


async def test_a_store_that_fails_between_two_audiences(clusters: Clusters) -> None:
    """Whoever renews next stores what is left first, for the audience that it was for."""
    _, a, b = await clusters.all_of(await clusters.login())
    await clusters.renewed_in_vain(a)
    assert a.bearer == b""
    assert clusters.grants.begin_renewal(b) is None  # the pause is the grant's
    clusters.clock.ahead += 60
    await clusters.renewed(b)
    assert clusters.calls == 3  # the login, and one for each
    assert audience_of(a) == {"a", CLIENT}
    assert set((await clusters.stored(a.grant.key)).tokens) == {"a", "b"}
    clusters.clock.ahead += LIFE
    await clusters.renewed(a)


async def test_what_is_left_to_store_is_refused(clusters: Clusters) -> None:
    """Its refresh token counts, its ID token does not; another audience's renewal goes on, its own is told."""
    _, a, b = await clusters.all_of(await clusters.login())
    clusters.issuer.quirks.claims = ignoring
    for _ in range(2):
        await clusters.renewed_in_vain(a)
        clusters.clock.ahead += 60
        with pytest.raises(AudienceRefused):
            await clusters.grants.wait_for_renewal(a)
        clusters.clock.ahead += 60
    await clusters.renewed_in_vain(b)
    clusters.clock.ahead += 60
    clusters.issuer.quirks.claims = None
    await clusters.renewed(a)
    assert b.bearer == b""
    await clusters.renewed(b)


async def test_what_is_left_to_store_is_overtaken_by_a_login(clusters: Clusters) -> None:
    """The login ended that refresh token, so it is forgotten."""
    a = await clusters.login("a")
    await clusters.renewed_in_vain(a)
    clusters.clock.ahead += 60
    await clusters.login("b")
    calls = clusters.calls
    await clusters.renewed(a)
    assert clusters.calls == calls + 1
    assert a.renewals.unstored is None


async def test_a_login_makes_due_what_is_usable(clusters: Clusters) -> None:
    """The person's groups may have changed: old tokens are sent until new ones are there, which is at once."""
    a, b = await clusters.login("a"), await clusters.login("b")
    await clusters.renewed(a)
    await clusters.renewed(b)
    assert a.due > clusters.clock()
    old, refresh_token = a.bearer, a.grant.refresh_token
    clusters.issuer.replace_person(replace(DEMO_PEOPLE[0], groups=("others",)))
    clusters.clock.ahead += 1
    await clusters.login("b")
    assert a.grant.refresh_token not in (None, refresh_token)
    assert (a.bearer, a.due) == (old, 0.0)
    assert a.usable_until > clusters.clock()
    assert a.claims.groups == ("platform-admins",)
    assert a.grant.claims.groups == ("others",)
    await clusters.renewed(a)
    assert a.due > clusters.clock()
    assert a.claims.groups == ("others",)


async def test_a_provider_that_ignores_narrowing_is_refused(
    clusters: Clusters, caplog: pytest.LogCaptureFixture
) -> None:
    """A token for both clusters is never sent to one; the grant stays, and the operator is told what to look at."""
    a = await clusters.login("a")
    clusters.issuer.quirks.claims = ignoring
    with pytest.raises(AudienceRefused) as caught:
        await clusters.grants.wait_for_renewal(a)
    assert (caught.value.status, caught.value.audience) == (502, "a")
    assert "trustedPeers of the client 'a' must name 'gate'" in str(caught.value)
    assert "trustedPeers" in caplog.text
    assert (a.bearer, a.usable_until, a.failures, a.can_renew) == (b"", 0.0, 1, True)
    assert not (await clusters.stored(a.grant.key)).tokens
    with pytest.raises(AudienceRefused):  # the pause is not over, and the reason is still known
        await clusters.grants.wait_for_renewal(a)
    assert clusters.calls == 2
    clusters.issuer.quirks.claims = None
    clusters.clock.ahead += 60
    await clusters.renewed(a)
    assert (a.failures, a.failure) == (0, None)


async def test_a_refusal_is_one_audience_s(clusters: Clusters) -> None:
    """The other one goes on without a pause, with the refresh token that the refused reply brought."""
    _, a, b = await clusters.all_of(await clusters.login())
    clusters.issuer.quirks.claims = lambda claims: ignoring(claims) if "a" in claims["aud"] else claims
    with pytest.raises(AudienceRefused):
        await clusters.grants.wait_for_renewal(a)
    await clusters.renewed(b)
    assert (b.failures, b.failure, a.failures) == (0, None, 1)


async def test_the_plain_token_must_be_plain(clusters: Clusters) -> None:
    """A site without a cluster's client of its own gets nobody else's token either."""
    plain = await clusters.login()
    clusters.issuer.quirks.claims = ignoring
    with pytest.raises(AudienceRefused, match="audience 'gate' alone") as caught:
        await clusters.grants.wait_for_renewal(plain)
    assert "trustedPeers" not in str(caught.value)
    assert plain.bearer == b""


@pytest.mark.parametrize("claim", ["sub", "nonce", "exp"])
async def test_any_other_fault_of_a_narrowed_token_ends_the_grant(clusters: Clusters, claim: str) -> None:
    """Another person's token, or another login's: no token of this grant is used any more, for no audience."""
    _, a, b = await clusters.all_of(await clusters.login())
    await clusters.renewed(b)
    clusters.issuer.quirks.claims = lambda claims: {**claims, claim: 1 if claim == "exp" else "other"}
    await clusters.grants.wait_for_renewal(a)
    assert await clusters.store.get(a.grant.key) is None
    for shared in (a, b):
        assert (shared.bearer, shared.usable_until, shared.can_renew) == (b"", 0.0, False)


async def test_a_failure_pauses_every_audience(clusters: Clusters) -> None:
    """An outage of the issuer is nobody's own: it costs one call, not one an audience."""
    _, a, b = await clusters.all_of(await clusters.login())
    clusters.issuer.quirks.fail["token"] = 503
    for shared in (a, b, a):
        with pytest.raises(ProviderUnreachable):
            await clusters.grants.wait_for_renewal(shared)
    assert clusters.calls == 2
    assert b.next_try == a.next_try > clusters.clock()


async def test_those_who_wait_for_a_failure_do_not_repeat_it(clusters: Clusters) -> None:
    """Two audiences begin at once, the first meets an outage: the second learns of it and asks nobody."""
    _, a, b = await clusters.all_of(await clusters.login())
    clusters.issuer.quirks.fail["token"] = 503
    outcomes = await asyncio.gather(
        *(clusters.grants.wait_for_renewal(shared) for shared in (a, b)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [ProviderUnreachable, renewal_module.Paused]
    assert clusters.calls == 2


async def test_a_final_refusal_ends_renewal_for_all(clusters: Clusters) -> None:
    """The one refresh token is dead; tokens that are there run to their end."""
    _, a, b = await clusters.all_of(await clusters.login())
    await clusters.renewed(b)
    clusters.issuer.refresh_tokens.revoke("demo-0001")
    await clusters.grants.wait_for_renewal(a)
    assert not a.can_renew
    assert not b.can_renew
    assert (a.usable_until, audience_of(b)) == (0.0, {"b", CLIENT})
    assert b.usable_until > clusters.clock()


async def test_an_audience_that_the_login_was_not_for(clusters: Clusters) -> None:
    """A site that was configured later: nobody is asked, since Dex would call the refresh token dead for it."""
    a = await clusters.login("a")
    await clusters.renewed(a)
    later = clusters.another_process(clusters.made_providers({"audience": "a"}, {"audience": "c"}))
    c = await later.load(a.grant.key, "c")
    assert c is not None
    assert not c.can_renew
    assert (
        await later.join(a.grant.key, "c", session_key="session:c", ends=clusters.clock() + LIFE, root="session:1")
        is None
    )
    await later.wait_for_renewal(c)
    assert clusters.calls == 2
    await clusters.renewed(a)


# Logins without a refresh token


async def test_without_a_refresh_token_a_login_for_all_is_kept_for_none(clusters: Clusters) -> None:
    """Its token would open all clusters, and nothing can narrow it: another login has to, for one of them."""
    with pytest.raises(NeedsNarrowLogin) as caught:
        await clusters.login("a", offline=False)
    assert (caught.value.audience, caught.value.status) == ("a", 400)
    assert not await clusters.store.keys("grant:")


@pytest.mark.parametrize(("only", "audience"), [("a", "a"), (CLIENT, ""), ("", "")])
async def test_without_a_refresh_token_a_login_for_one_is_kept(clusters: Clusters, only: str, audience: str) -> None:
    """It is exactly what the site needs; there is none for another one."""
    shared = await clusters.login(only, only=only, offline=False)
    assert shared.audience == audience
    assert audience_of(shared) == {audience or CLIENT, CLIENT}
    assert shared.due > clusters.clock()
    assert not shared.can_renew
    other = await clusters.grants.load(shared.grant.key, "b")
    assert other is not None
    assert (other.bearer, other.can_renew) == (b"", False)
    assert clusters.calls == 1


async def test_one_narrow_login_after_the_other(clusters: Clusters) -> None:
    """Each brings one token, which runs to its end beside the others."""
    await clusters.login("a", only="a", offline=False)
    b = await clusters.login("b", only="b", offline=False)
    a = await clusters.grants.load(b.grant.key, "a")
    assert a is not None
    assert (audience_of(a), audience_of(b)) == ({"a", CLIENT}, {"b", CLIENT})


@pytest.mark.parametrize("offline", [True, False])
async def test_a_login_that_is_not_for_the_site(clusters: Clusters, offline: bool) -> None:
    """A provider that knows no audiences: no login will ever do, and that is said."""
    with pytest.raises(AudienceRefused, match="the login's token is for b, gate"):
        await clusters.login("a", only="b", offline=offline)
    assert not await clusters.store.keys("grant:")


async def test_a_login_for_one_is_sent_as_it_is(clusters: Clusters) -> None:
    """A token that is for this audience alone needs no refresh, also where there could be one."""
    a = await clusters.login("a", only="a")
    assert audience_of(a) == {"a", CLIENT}
    assert a.can_renew
    assert clusters.calls == 1


async def test_a_login_that_led_to_no_session(clusters: Clusters) -> None:
    """Its refresh token replaces the dead one; its tokens only what they are exactly for."""
    a = await clusters.login("a")
    await clusters.renewed(a)
    who: dict[str, Any] = {"issuer": clusters.issuer.url, "client_id": CLIENT}
    tokens, claims = await clusters.redeem()
    before = a.grant
    await clusters.grants.adopt_tokens(replace(tokens, refresh_token=None), claims, **who)
    assert a.grant is before
    clusters.clock.ahead += 1
    await clusters.grants.adopt_tokens(tokens, claims, **who)
    assert (a.grant.refresh_token, a.grant.tokens, a.due) == (tokens.refresh_token, before.tokens, 0.0)
    await clusters.renewed(a)
    tokens, claims = await clusters.redeem("b")
    await clusters.grants.adopt_tokens(replace(tokens, refresh_token=None), claims, **who, audience="b")
    b = await clusters.grants.load(a.grant.key, "b")
    assert b is not None
    assert audience_of(b) == {"b", CLIENT}


async def test_a_login_without_a_session_of_somebody_unknown(clusters: Clusters) -> None:
    """Nothing is kept for a person without any session."""
    tokens, claims = await clusters.redeem()
    await clusters.grants.adopt_tokens(tokens, claims, issuer=clusters.issuer.url, client_id=CLIENT)
    assert not await clusters.store.keys("grant:")


# Handing over


async def test_join(clusters: Clusters) -> None:
    """One more host of the same browser: one more session of the grant, and no login."""
    a = await clusters.login("a")
    ends = clusters.clock() + LIFE
    joined = await clusters.grants.join(a.grant.key, "b", session_key="session:b", ends=ends, root="session:1")
    assert joined is not None
    b, surplus = joined
    assert (b.audience, surplus) == ("b", ())
    assert b.grant.sessions[-1] == ("session:b", ends, "session:1")
    assert a.grant is b.grant
    await clusters.renewed(b)


async def test_join_without_a_root_or_a_grant(clusters: Clusters) -> None:
    """Who signed out meanwhile hands nothing over."""
    a = await clusters.login("a")
    more: dict[str, Any] = {"session_key": "session:b", "ends": clusters.clock() + LIFE}
    assert await clusters.grants.join(a.grant.key, "b", **more, root="session:9") is None
    await clusters.grants.leave_key(a.grant.key, "session:1")
    assert await clusters.grants.join(a.grant.key, "b", **more, root="session:1") is None


async def test_join_without_a_refresh_token(clusters: Clusters) -> None:
    """Only to an audience whose token is there."""
    a = await clusters.login("a", only="a", offline=False)
    more: dict[str, Any] = {"session_key": "session:x", "ends": clusters.clock() + 2 * LIFE, "root": "session:1"}
    assert await clusters.grants.join(a.grant.key, "b", **more) is None
    assert await clusters.grants.join(a.grant.key, "a", **more) is not None
    clusters.clock.ahead += LIFE
    assert await clusters.grants.join(a.grant.key, "a", **more) is None


async def test_too_many_browsers(clusters: Clusters) -> None:
    """Hosts do not count, browsers do; the oldest goes with all of its sessions."""
    first = await clusters.login()
    more: dict[str, Any] = {"ends": clusters.clock() + LIFE, "root": "session:1"}
    for n in range(5):
        joined = await clusters.grants.join(first.grant.key, "a", session_key=f"session:x{n}", **more)
        assert joined is not None
        assert joined[1] == ()
    await clusters.login()
    tokens, claims = await clusters.redeem()
    _, surplus = await clusters.grants.adopt_login(
        tokens,
        claims,
        issuer=clusters.issuer.url,
        client_id=CLIENT,
        session_key="session:third",
        ends=clusters.clock() + LIFE,
    )
    assert surplus == ("session:1", *(f"session:x{n}" for n in range(5)))


# Other releases and configurations


async def test_a_record_of_the_release_before(clusters: Clusters) -> None:
    """It goes on where one token serves; where each cluster needs its own, the person passes through login."""
    plain = clusters.another_process(clusters.made_providers({}))
    tokens, claims = await clusters.redeem("")
    key = grant_key(clusters.issuer.url, CLIENT, claims.subject)
    record = {
        "v": 1,
        "issuer": clusters.issuer.url,
        "client_id": CLIENT,
        "claims": claims.to_record(),
        "id_token": tokens.id_token,
        "refresh_token": tokens.refresh_token,
        "obtained": clusters.clock(),
        "sessions": [["session:old", clusters.clock() + 24 * LIFE]],
    }
    await clusters.put(key, json.dumps(record).encode())
    old = await plain.load(key)
    a = await clusters.grants.load(key, "a")
    assert old is not None
    assert a is not None
    assert old.bearer.endswith(tokens.id_token.encode() + b"\r\n")
    assert old.due > clusters.clock()
    assert (a.bearer, a.can_renew) == (b"", False)
    clusters.clock.ahead += LIFE + 5
    await clusters.renewed(old, plain)
    assert list((await clusters.stored(key)).tokens) == [""]
    a = await clusters.login("a")
    await clusters.renewed(a)
    assert a.grant.session_keys == ("session:old", "session:1")


async def test_a_client_whose_sites_lost_their_audiences(clusters: Clusters) -> None:
    """A plain refresh would bring a token for all that the login was for: it is refused, and the person signs in."""
    a = await clusters.login("a")
    plain = clusters.another_process(clusters.made_providers({}))
    shared = await plain.load(a.grant.key)
    assert shared is not None
    await plain.wait_for_renewal(shared)
    assert (shared.bearer, shared.can_renew) == (b"", False)
    assert await clusters.store.get(a.grant.key) is None


async def test_a_client_that_is_no_longer_configured(clusters: Clusters) -> None:
    """There is nothing to ask, and nothing to narrow."""
    a = await clusters.login("a")
    cast(Any, clusters.grants._providers)._ids.clear()
    await clusters.grants.wait_for_renewal(a)
    assert not a.can_renew
    assert clusters.calls == 1


async def test_slow_clocks_renew_once(clusters: Clusters) -> None:
    """A process whose clock is behind the one that saw the login does not renew again and again."""
    a = await clusters.login("a")
    clusters.grants._clock = lambda: clusters.clock() - 30
    await clusters.renewed(a)
    assert a.due > clusters.clock()


async def test_what_verify_is_asked(clusters: Clusters) -> None:
    """The whole audience, ours and the cluster's; a provider's own word on it counts for nothing."""
    tokens, claims = await clusters.redeem()
    provider: Any = clusters.providers.by_id("")
    with pytest.raises(InvalidIdToken) as caught:
        await provider.verify(tokens, previous=claims, exactly=frozenset({"a", CLIENT}))
    assert caught.value.claim == "aud"
