"""
The walk itself: one check after the other, and none whose ground has given way.

Pure but for waiting. When a hop fails, what stands on it is skipped with its name, so that one cause is one failure.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from oidcgate.doctor.report import Finding, Said, plain, skip
from oidcgate.errors import OidcgateError

BUDGET: Final = 120.0  # seconds for all checks together, but for those in which a person has a part

Hop = tuple[str, str]  # its name, and the site or nothing


@dataclass(frozen=True, slots=True)
class Check:
    """
    One hop of one site (or of all).

    Attributes:
        needs: the hops that it stands on; those that are not walked hold.
        offline: it needs no network.
        waits: a person has a part in it, so its time is not counted.
    """

    hop: str
    site: str
    run: Callable[[], Awaitable[list[Said]]]
    needs: tuple[Hop, ...] = ()
    offline: bool = False
    waits: bool = False


async def walk(
    checks: Sequence[Check],
    *,
    offline: bool = False,
    budget: float = BUDGET,
    timer: Callable[[], float] = time.monotonic,
) -> list[Finding]:
    """Run the checks in their order."""
    findings: list[Finding] = []
    fallen: dict[Hop, str] = {}
    for check in checks:
        because = _because(check, fallen, offline=offline, out_of_time=budget <= 0)
        began = timer()
        said = [skip(because)] if because else await _run(check)
        if not check.waits:
            budget -= timer() - began
        findings += [
            Finding(check.hop, check.site, each.status, plain(each.message), plain(each.key), plain(each.fix))
            for each in said
        ]
        kinds = {each.status for each in said}
        if "fail" in kinds:
            fallen[check.hop, check.site] = f"because {_named(check, checks)} failed"
        elif kinds == {"skip"}:
            fallen[check.hop, check.site] = because or f"because {_named(check, checks)} was skipped"
    return findings


def _because(check: Check, fallen: dict[Hop, str], *, offline: bool, out_of_time: bool) -> str:
    """Why a check cannot be made; empty when it can."""
    if offline and not check.offline:
        return "needs the network (--offline)"
    if reason := next((fallen[need] for need in check.needs if need in fallen), None):
        return reason
    return "out of time: too many calls had no answer" if out_of_time and not check.waits else ""


async def _run(check: Check) -> list[Said]:
    try:
        return await check.run()
    except OidcgateError as error:  # a check that did not know of this
        return [Said("fail", str(error), "", "")]


def _named(check: Check, checks: Sequence[Check]) -> str:
    """A hop's name, with its site where several have one of that name."""
    several = len({each.site for each in checks if each.hop == check.hop}) > 1
    return f"{check.hop} of {check.site or 'the default provider'}" if several else check.hop
