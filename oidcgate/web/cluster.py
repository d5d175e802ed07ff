"""
What the gate asks the API servers of its sites: who somebody is there, and whether they may pass.

Edge: calls of a few hundred bytes, never for a request on the quick way. Rules of this file:
- What was answered is remembered for a while, and one call answers however many requests wait for it.
- Who somebody is, is looked at to help: an API server that does not answer holds nobody up.
- A permission that cannot be asked for is none (503, and nobody is signed out); a yes holds for ten seconds.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from multidict import CIMultiDict

from oidcgate.config.model import Kubernetes, May
from oidcgate.config.secret import SecretFile, UnusableSecret
from oidcgate.errors import OidcgateError
from oidcgate.kube import diagnosis
from oidcgate.kube.client import Answer, ApiServer, ClusterUnreachable
from oidcgate.kube.diagnosis import Part
from oidcgate.kube.reviews import (
    SELF_ACCESS_PATH,
    SELF_PATH,
    SELF_RULES_PATH,
    TOKEN_PATH,
    Permission,
    Rules,
    read_rules,
    read_token_verdict,
    read_verdict,
    self_access_review,
    self_review,
    self_rules_review,
    token_review,
)
from oidcgate.kube.who import GOOD, Who, read_impersonated, read_who, usable
from oidcgate.web.live import Live
from oidcgate.web.remembered import Remembered
from oidcgate.web.site import SiteRuntime

log = logging.getLogger("oidcgate.cluster")

PERMITTED_FOR: Final = 10.0  # seconds for which a verdict holds
FAILED_FOR: Final = 10.0  # seconds until somebody who is not taken is looked at again
DOWN_FOR: Final = 2.0  # seconds until an API server that did not answer is asked for a permission again
PATIENCE: Final = 2.0  # seconds that a page waits to learn who somebody is
CALL_TIME: Final = 5.0  # seconds for one call

Credentials = Callable[[Live, SiteRuntime], Mapping[str, str]]


def credentials(live: Live, site: SiteRuntime) -> Mapping[str, str]:
    """
    The headers by which a person's requests act in the cluster; where the UI gets none, those of the person's token.

    Raises:
        CredentialUnusable, NotImpersonated: there are none.
    """
    acts = site.config.identity == "impersonate"
    lines = site.outgoing.authority(live.claims, live.bearer) if acts else live.bearer
    pairs = (line.partition(": ") for line in lines.decode().split("\r\n") if line)
    return CIMultiDict((name, value) for name, _, value in pairs)


def permission_of(may: May) -> Permission:
    """What ``access.may`` asks for."""
    return Permission(may.verb, may.resource, group=may.group, namespace=may.namespace, name=may.name)


class Clusters:
    """
    The API servers of the sites that name one.

    Args:
        credentials: the headers by which the API server knows a person on a site.
    """

    def __init__(
        self,
        sites: Iterable[SiteRuntime],
        *,
        credentials: Credentials = credentials,
        clock: Callable[[], float] = time.time,
    ) -> None:
        configured = {site.config.url: site.config.kubernetes for site in sites}
        self._servers = {url: ApiServer(k, timeout=CALL_TIME) for url, k in configured.items() if k is not None}
        self._credentials = credentials
        self._clock = clock
        self._people: Remembered[Who] = Remembered(clock)
        self._verdicts: Remembered[bool | ClusterUnreachable] = Remembered(clock)
        self._silent: dict[str, float] = {}  # until when nobody waits to learn who they are
        self._secrets: dict[str, SecretFile] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Clusters {', '.join(self._servers)}>"

    def __len__(self) -> int:
        return len(self._servers)

    def knows(self, live: Live, site: SiteRuntime) -> bool:
        """Whether the API server of a site can be asked about a person."""
        return site.config.url in self._servers and bool(live.bearer)

    # Who somebody is.

    async def check(self, live: Live, site: SiteRuntime) -> Who | None:
        """Whoever opens a page with a token that the API server does not take; None for all others."""
        if not self.knows(live, site) or site.config.identity == "none":
            return None
        url = site.config.url
        if self._clock() < self._silent.get(url, 0.0):
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                who = await self.who(live, site)
        except TimeoutError:
            log.warning("the API server of %s is slow; people pass without a look at who they are there", url)
            self._silent[url] = self._clock() + FAILED_FOR
            return None
        return who if who.is_refused else None

    async def who(self, live: Live, site: SiteRuntime) -> Who:
        """Somebody as the API server sees them; asked once a token."""
        token = hashlib.sha256(live.bearer).hexdigest()
        key = (live.session.grant_key, live.shared.audience, site.config.url, token)
        return (await self._people.get(key, lambda: self._look(live, site)))[1]

    async def _look(self, live: Live, site: SiteRuntime) -> tuple[float, Who]:
        ends = live.claims.expires
        try:
            answer = await self._post(site, SELF_PATH, self_review(), self._credentials(live, site))
            who = await self._understood(answer, live, site)
        except ClusterUnreachable as error:
            who = Who(findings=(diagnosis.of_unreachable(error.hop, str(error)),))
        for finding in who.findings:
            level = logging.INFO if finding.part is Part.PREFIX else logging.WARNING
            log.log(level, "%s at the API server of %s: %s", finding.part.value, site.config.url, finding.sentence)
        soon = self._clock() + FAILED_FOR
        return (min(ends, soon) if who.is_refused or who.person is None else ends), who

    async def _understood(self, answer: Answer, live: Live, site: SiteRuntime) -> Who:
        kubernetes = _configured(site)
        if site.config.identity == "impersonate":
            return read_impersonated(answer, live.claims, kubernetes)
        now = self._clock()
        said = await self._said_of(live, site) if answer.status == 401 else None
        return read_who(answer, live.claims, kubernetes, now=now, said=said)

    async def _said_of(self, live: Live, site: SiteRuntime) -> str | None:
        """What is wrong with a token, in the API server's words; None without a credential that may ask."""
        headers = self._own_credential(_configured(site))
        if headers is None:
            return None
        token = live.bearer.decode("ascii").split()[-1]
        try:
            answer = await self._post(site, TOKEN_PATH, token_review(token), headers)
            verdict = usable(read_token_verdict, answer.body) if answer.status in GOOD else None
        except ClusterUnreachable:
            return None
        return None if verdict is None or verdict.authenticated else verdict.error

    def _own_credential(self, kubernetes: Kubernetes) -> dict[str, str] | None:
        file = kubernetes.credential_file
        if file is None:
            return None
        try:
            secret = self._secrets.setdefault(file, SecretFile(Path(file))).read()
        except UnusableSecret as error:
            log.warning("the gate's own credential cannot be used: %s", error)
            return None
        return {"Authorization": f"Bearer {secret}"}

    # What somebody may do.

    async def judge(self, live: Live) -> None:
        """
        Settle whether somebody has the permission that their site asks for, and until when that holds.

        Raises:
            ClusterUnreachable: nobody can tell now.
        """
        until, allowed = await self._verdict(live, live.site)
        live.permitted = allowed
        live.permitted_until = until if allowed else 0.0

    def judge_open(self, lives: Iterable[Live], on_denied: Callable[[Live], None]) -> None:
        """Once a second: what is open stays open only while its person may pass; an outage ends nothing."""
        now = self._clock()
        for live in {id(live): live for live in lives if live.permitted_until <= now}.values():
            task = asyncio.get_running_loop().create_task(self._judge_open(live, on_denied), name="judge what is open")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _judge_open(self, live: Live, on_denied: Callable[[Live], None]) -> None:
        with contextlib.suppress(OidcgateError):
            await self.judge(live)
            if not live.permitted:
                on_denied(live)

    async def permit(self, live: Live, site: SiteRuntime) -> bool:
        """
        Whether somebody has the permission that a site asks for; everybody has where it asks for none.

        Raises:
            ClusterUnreachable: nobody can tell now.
        """
        return site.config.access.may is None or (await self._verdict(live, site))[1]

    async def _verdict(self, live: Live, site: SiteRuntime) -> tuple[float, bool]:
        key = (live.session.grant_key, live.shared.audience, site.config.url)
        until, verdict = await self._verdicts.get(key, lambda: self._ask_permission(live, site))
        if isinstance(verdict, ClusterUnreachable):
            raise ClusterUnreachable(str(verdict), verdict.hop)
        return until, verdict

    async def _ask_permission(self, live: Live, site: SiteRuntime) -> tuple[float, bool | ClusterUnreachable]:
        may = site.config.access.may
        assert may is not None
        until = self._clock() + PERMITTED_FOR  # what was true at the latest when it was asked
        try:
            review = self_access_review(permission_of(may))
            answer = await self._post(site, SELF_ACCESS_PATH, review, self._credentials(live, site))
            if answer.status in (401, 403):  # whom it does not take has no permission
                return until, False
            if answer.status not in GOOD:
                raise ClusterUnreachable(f"the API server of {site.config.url} answered {answer.status}", "reply")
            return until, usable(read_verdict, answer.body).allowed
        except ClusterUnreachable as error:
            log.warning("a permission could not be asked for: %s", error)
            return self._clock() + DOWN_FOR, error

    async def rules(self, live: Live, site: SiteRuntime, namespace: str) -> Rules:
        """
        All that somebody may do in a namespace.

        Raises:
            ClusterUnreachable: nobody can tell now.
        """
        headers = self._credentials(live, site)
        answer = await self._post(site, SELF_RULES_PATH, self_rules_review(namespace), headers)
        if answer.status not in GOOD:
            return Rules(incomplete=True, error=answer.message or f"the API server answered {answer.status}")
        return usable(read_rules, answer.body)

    async def _post(self, site: SiteRuntime, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        return await self._servers[site.config.url].post(path, body, headers=headers)

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._people.close()
        await self._verdicts.close()
        for server in self._servers.values():
            await server.close()


def _configured(site: SiteRuntime) -> Kubernetes:
    kubernetes = site.config.kubernetes
    assert kubernetes is not None
    return kubernetes
