"""
`python -m bench.soak`: people at work in several browsers, whose tokens live for seconds, before two replicas.

Counts what must not happen, and the calls to the token endpoint against what they should be. Everything runs on this
machine: issuer and UI in this process, Redis and the gates in their own.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from oidcgate.demo.issuer import Person
from oidcgate.errors import OidcgateError
from tests.support.browser import Browser
from tests.support.fleet import Fleet
from tests.support.redis import server

PEOPLE = 20
BROWSERS = 3  # of each person
LIFE = 15  # seconds that tokens live
AHEAD = LIFE / 5 * 1.05  # seconds before their end at which the gate renews short-lived tokens, give or take a 20th
PAUSE = 1.0  # seconds between a browser's requests, on average
TOLERANCE = 0.1  # of the token calls


@dataclass
class Report:
    """What was seen: answers by status, and the counts of issuer and UI."""

    seconds: float
    answers: Counter[int] = field(default_factory=Counter)
    token_calls: int = 0
    logins: int = 0
    expired_tokens: int = 0

    @property
    def expected_calls(self) -> float:
        """One call a person each time a token has lived its life but for the time ahead."""
        return PEOPLE * self.seconds / (LIFE - AHEAD)

    @property
    def problems(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if set(self.answers) != {200}:
            found.append(f"answers: {dict(self.answers)}")
        if self.expired_tokens:
            found.append(f"{self.expired_tokens} requests arrived with an expired token")
        if self.logins != PEOPLE * BROWSERS:
            found.append(f"{self.logins - PEOPLE * BROWSERS} times somebody had to sign in again")
        if abs(self.token_calls / self.expected_calls - 1) > TOLERANCE:
            found.append(f"{self.token_calls} token calls instead of {self.expected_calls:.0f}")
        return found

    def __str__(self) -> str:
        calls = f"{self.token_calls} token calls, {self.token_calls / self.expected_calls:.2f} of what is expected"
        return (
            f"{PEOPLE} people in {BROWSERS} browsers each, tokens living {LIFE} s, {self.seconds:.0f} s: "
            f"{self.answers[200]} good answers of {self.answers.total()}, {calls}, "
            f"{self.expired_tokens} expired tokens upstream, {self.logins - PEOPLE * BROWSERS} further sign-ins"
        )


def person(number: int) -> Person:
    """Somebody who may see the UI."""
    login = f"person{number:02}"
    return Person(login, login, f"Person {number}", f"{login}@example.com", ("platform-admins",), f"soak-{number:04}")


async def soak(fleet: Fleet, seconds: float) -> Report:
    """
    Let people work.

    They begin one after the other, over the time between two renewals, and the time is counted from then on: so
    the calls of a short run are as evenly spread as those of a long one.
    """
    answers: Counter[int] = Counter()
    over = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    begin = time.monotonic()
    assert fleet.ui is not None
    try:
        for number in range(PEOPLE):
            await asyncio.sleep(begin + number * (LIFE - AHEAD) / PEOPLE - time.monotonic())
            someone = person(number)
            fleet.issuer.replace_person(someone)
            for _ in range(BROWSERS):
                browser = await fleet.browser(someone.login)
                tasks.append(asyncio.create_task(work(fleet, browser, answers, over)))
        await asyncio.sleep(begin + (LIFE - AHEAD) - time.monotonic())
        answers.clear()
        calls, start = fleet.issuer.calls["token:refresh"], time.monotonic()
        await asyncio.sleep(seconds)
        report = Report(time.monotonic() - start, token_calls=fleet.issuer.calls["token:refresh"] - calls)
    finally:
        over.set()
        await asyncio.gather(*tasks)
    report.answers, report.logins = answers, fleet.issuer.calls["token:code"]
    report.expired_tokens = fleet.ui.expired_tokens
    return report


async def work(fleet: Fleet, browser: Browser, answers: Counter[int], over: asyncio.Event) -> None:
    """One browser's requests; a broken connection counts as status 0."""
    while not over.is_set():
        try:
            answers[(await browser.fetch(f"{fleet.url}/api/v1/me")).status] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            answers[0] += 1
        browser.visited.clear()
        await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))


async def run(minutes: float) -> Report:
    """With a Redis and two replicas of two workers each."""
    with tempfile.TemporaryDirectory(prefix="oidcgate-soak-") as folder, server(Path(folder)) as redis:
        async with Fleet(store=redis.url, replicas=2, issuer={"id_token_life": LIFE}, ui={"record": False}) as fleet:
            return await soak(fleet, minutes * 60)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    found = parser.parse_args()
    try:
        report = asyncio.run(run(found.minutes))
    except (OidcgateError, RuntimeError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print(report)
    for problem in report.problems:
        print(f"wrong: {problem}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
