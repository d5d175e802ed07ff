"""
The composition root: one configuration becomes a running gate.

Edge: asyncio. About ten objects, wired by hand; nothing else in the package knows how they fit together.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from aiohttp import web
from prometheus_client.core import Metric

from oidcgate.config.addresses import Listen
from oidcgate.config.model import Admin, Config
from oidcgate.errors import OidcgateError, ProviderError, StoreUnavailable
from oidcgate.net.downstream import Downstream, DownstreamServer
from oidcgate.net.tunnel import GRACE
from oidcgate.policy import admits
from oidcgate.proxy.forwarded import parse_networks
from oidcgate.session.grant import Grant
from oidcgate.session.lifecycle import Limits
from oidcgate.session.seal import KeyRing
from oidcgate.session.session import Session
from oidcgate.web.accesspage import AccessPage
from oidcgate.web.admin import admin_app, token_reader
from oidcgate.web.attempts import Attempts
from oidcgate.web.audit import Audit
from oidcgate.web.backchannel import BackchannelLogout
from oidcgate.web.badge import BadgePages
from oidcgate.web.callback import CallbackPages
from oidcgate.web.cluster import Clusters
from oidcgate.web.destinations import Destinations
from oidcgate.web.facts import FactsTable
from oidcgate.web.followed import Followed
from oidcgate.web.forward_auth import ForwardAuth
from oidcgate.web.forward_quick import QuickAuth
from oidcgate.web.gate import Gate
from oidcgate.web.gauges import Gauges, Observed
from oidcgate.web.grants import Grants
from oidcgate.web.guard import Guard
from oidcgate.web.handoff import Handoffs
from oidcgate.web.keys import load_ring
from oidcgate.web.kubectlpage import KubectlPage
from oidcgate.web.landing import Health, Landing
from oidcgate.web.listeners import Listeners, listen_admin
from oidcgate.web.live import Live
from oidcgate.web.login import LoginPages, LoginParts
from oidcgate.web.logs import AccessLog, RequestNumbers
from oidcgate.web.look import load_look
from oidcgate.web.machine import raise_file_limit
from oidcgate.web.metrics import Metrics
from oidcgate.web.opening import open_store
from oidcgate.web.ownpages import OwnPages
from oidcgate.web.programs import Programs
from oidcgate.web.providers import Providers
from oidcgate.web.quick import QuickWay
from oidcgate.web.register import Register
from oidcgate.web.sessionpage import SessionPage, as_json
from oidcgate.web.sessions import Sessions
from oidcgate.web.site import SiteTable, make_site, make_table
from oidcgate.web.snapshot import Family, Sum, snapshot_of
from oidcgate.web.storage import GateStorage
from oidcgate.web.timedstore import TimedStore
from oidcgate.web.visits import Visits

log = logging.getLogger("oidcgate")

TICK = 1.0  # seconds between looks at what is over, due or overdue
DRAIN = 30.0  # seconds that requests under way may take at the end
IDLE_SHARE = 0.04  # of the drain, for requests that are on their way: a second of 25
SESSION_OVER = 4001  # websocket close code, RFC 6455 §7.4.2: for private use
NO_LONGER_PERMITTED = "your account may no longer use this site"
GOING_AWAY = 1012  # service restart (IANA WebSocket close codes)
WARM_UP_PAUSE = 5.0  # seconds between tries to reach the providers at the start


class GateServer:
    """
    A gate that can be started and stopped.

    Args:
        access_descriptor: where access-log lines go; standard output unless told otherwise, None = nowhere.
        sockets: listening sockets made elsewhere, in place of the configured addresses.
        with_admin: whether the admin listener is this process's; with workers it is the master's.
    """

    def __init__(
        self,
        config: Config,
        *,
        access_descriptor: int | None = 1,
        sockets: Sequence[socket.socket] = (),
        with_admin: bool = True,
    ) -> None:
        self.config = config
        self._with_admin = with_admin
        self._sockets = sockets
        self._access_descriptor = access_descriptor if config.log.access else None
        self._descriptor = access_descriptor
        self._tasks: set[asyncio.Task[None]] = set()
        self._admin: web.AppRunner | None = None
        self.admin_address: Listen | None = None

    async def start(self) -> None:
        """
        Open the store, listen, and begin to look after sessions. The provider need not be there.

        Raises:
            ConfigError: an address, key or certificate that cannot be used.
            StoreUnavailable: the store cannot be opened.
        """
        raise_file_limit()
        self.audit = Audit(self.config.audit.file, descriptor=self._descriptor)
        self.metrics = Metrics()
        self._wire(TimedStore(await open_store(self.config), self.metrics.stored), secrets.token_hex(3))
        await self._listeners.open(self._sockets)
        if self.config.admin is not None and self._with_admin:
            await self._listen_admin(self.config.admin)
        self._spawn(self._tick(), "every second")
        self._spawn(self._warm_up(), "reach the providers")

    def _wire(self, store: TimedStore, run: str) -> None:
        config = self.config
        self.store = store
        ring = load_ring(config.session)
        limits = Limits(
            idle=config.session.idle,
            lifetime=config.session.lifetime,
            refresh_ahead=config.session.refresh_ahead,
            max_per_user=config.session.max_per_user,
        )
        self.providers = Providers(config)
        look = load_look(config)
        self.sites = [make_site(config, site, self.providers, look) for site in config.sites]
        self.grants = Grants(store, ring, self.providers, limits)
        self.sessions = Sessions(store, ring, self.grants, limits, on_end=self._session_ended, admits=self._admits)
        descriptor, tally = self._access_descriptor, self.metrics.tally
        self.access_log = AccessLog(run=run, form=config.log.format, descriptor=descriptor, count=tally)
        self.grants.on_final = self.audit.refresh_failed
        self.sessions.on_over = self._session_over
        table, sequence = make_table(config, self.sites), RequestNumbers()
        facts = self._wire_gate(table, sequence)
        self._wire_forward_auth(table, sequence)
        self.register = Register(store, ring, self.sessions, self.grants, process=run)
        self._wire_pages(table, ring)
        self.downstream = DownstreamServer(
            self.gate.handle,
            self.quick,
            head_limit=config.limits.head,
            most=config.limits.connections,
            most_per_address=config.limits.per_address,
            header_timeout=config.limits.header_timeout,
            is_exempt=lambda address: facts.is_trusted(address) or self.forward_auth.is_peer(address),
        )
        self._listeners = Listeners(config, self.downstream)
        self._wire_metrics(store)

    def _wire_gate(self, table: SiteTable, sequence: RequestNumbers) -> FactsTable:
        """The five stops, and what they ask on the way."""
        config = self.config
        trusted = parse_networks(config.trusted_proxies)
        peers = parse_networks(config.forward_auth.peers)
        facts = FactsTable(table, trusted=trusted, head_limit=config.limits.head, peers=peers)
        self.gate = Gate(
            facts,
            self.sessions,
            self.access_log,
            sequence,
            prefix=config.prefix,
            body_limit=config.limits.body,
        )
        for site in self.sites:
            for pools in site.every_pools:
                pools.on_change = facts.forget
        self.gate.guards = {
            site.authority: Guard(site.pools, on_closed=facts.forget)
            for site in self.sites
            if site.preset.may_ignore_bearer and any(not pool.address.secure for pool in site.pools.pools)
        }
        self.gate.audit = self.audit
        self.followed = self.gate.followed = Followed(self.audit, address=facts.client_address)
        self.programs = self.gate.programs = Programs(self.providers)
        self.clusters = Clusters(self.sites)
        self.gate.clusters = self.clusters if len(self.clusters) else None
        return facts

    def _wire_pages(self, table: SiteTable, ring: KeyRing) -> None:
        """What lies below the prefix."""
        config, store = self.config, self.store
        self.visits = self.gate.visits = Visits(store, ring)
        parts = LoginParts(
            self.sessions,
            self.grants,
            self.providers,
            Attempts(store, ring),
            Handoffs(store, ring),
            Destinations(table, return_hosts=config.forward_auth.return_hosts, prefix=config.prefix),
            config.prefix,
            self.audit,
            self.metrics,
        )
        login = LoginPages(parts)
        storage = GateStorage(self.sessions)
        self.session_page = SessionPage(
            self.sessions,
            self.register,
            admins=config.session.admins,
            login_origin=table.login.origin,
            prefix=config.prefix,
        )
        backchannel = BackchannelLogout(self.sessions, self.providers, store)
        self.gate.own_pages = OwnPages(
            facts=self.gate.facts,
            login=login,
            callback=CallbackPages(login, parts),
            parts=parts,
            landing=Landing(table, self.visits, Health(), prefix=config.prefix),
            providers=self.providers,
            storage=storage,
            session_page=self.session_page,
            kubectl_page=KubectlPage(config),
            access_page=AccessPage(self.clusters, prefix=config.prefix),
            backchannel=backchannel,
            badge=BadgePages(idle=config.session.idle),
            access_log=self.access_log,
            prefix=config.prefix,
        )

    def _wire_forward_auth(self, table: SiteTable, sequence: RequestNumbers) -> None:
        """What answers proxies that carry requests themselves, and the quick ways to it and to the UIs."""
        config, facts = self.config, self.gate.facts
        self.forward_auth = self.gate.forward_auth = ForwardAuth(
            self.gate,
            table,
            peers=parse_networks(config.forward_auth.peers),
            headers=config.forward_auth.headers,
            prefix=config.prefix,
        )
        quick_auth = QuickAuth(self.forward_auth, facts, self.access_log, sequence, prefix=config.prefix)
        self.quick = QuickWay(facts, self.access_log, sequence, otherwise=quick_auth)

    def _wire_metrics(self, store: TimedStore) -> None:
        """Who tells of what happens, and what is looked at when somebody asks."""
        metrics = self.gate.metrics = self.metrics
        metrics.begin(self.sites)
        self.quick.on_broken = metrics.upstream_failed
        self.grants.on_refresh = metrics.refreshed
        for provider in self.providers:
            provider.watch(metrics.provider_called)
        observed = Observed(
            self.sites, self.sessions, self.providers, store, self.audit, self.access_log, self.downstream
        )
        metrics.registry.register(Gauges(observed))

    async def _listen_admin(self, admin: Admin) -> None:
        app = admin_app(
            liveness=_alive,
            readiness=self.checks,
            metrics=self._own_metrics,
            token=token_reader(admin.token_file),
            sessions=self.list_or_end,
        )
        self._admin, self.admin_address = await listen_admin(app, admin.listen)

    # Looking after things.

    def _spawn(self, work: "asyncio._CoroutineLike[None]", name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def connections(self) -> list[Downstream]:
        """The browsers' connections."""
        return cast(list[Downstream], self.downstream.connections)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            try:
                await self.look_after()
            except Exception:
                log.exception("unexpected error while looking after sessions")

    async def look_after(self) -> None:
        """What happens each second."""
        self.downstream.sweep()
        now = asyncio.get_running_loop().time()
        for site in self.sites:
            for pools in site.every_pools:
                pools.sweep(now)
                await pools.look_again(now)
        open_now = {id(live) for live in self._with_open()}
        await self.sessions.sweep(lambda live: id(live) in open_now)
        self.programs.sweep()
        self.followed.sweep()
        self._end_belated()
        self.clusters.judge_open(self._with_open(), lambda live: self._session_ended(live, NO_LONGER_PERMITTED))
        for guard in self.gate.guards.values():
            await guard.look_again()
        with contextlib.suppress(StoreUnavailable):
            await self.register.publish(self.connections())
            await self.visits.publish()

    def _with_open(self) -> list[Live]:
        """Sessions with a reply or a websocket under way."""
        return [c.live for c in self.connections() if c.live is not None and c.writer_of_reply is not None]

    def _end_belated(self) -> None:
        """What was being opened while its session ended was not there yet to be closed."""
        for connection in self.connections():
            live, writer = connection.live, connection.writer_of_reply
            if live is None or writer is None:
                continue
            if live.over:
                writer.end(SESSION_OVER, f"Session ended: {live.over}")
            elif not live.handle and time.time() >= live.shared.usable_until:
                writer.end(SESSION_OVER, "The token of this program has run out")

    async def _warm_up(self) -> None:
        """The gate starts without its providers and keeps knocking."""
        for provider in self.providers:
            while not provider.ready:
                try:
                    await provider.warm_up()
                except (ProviderError, OidcgateError) as error:
                    log.warning("the provider is not ready: %s", error)
                    await asyncio.sleep(WARM_UP_PAUSE)

    def _admits(self, live: Live) -> bool:
        """Whether a session's person may still use the site."""
        return admits(live.site.config.access, live.claims)

    def _session_ended(self, live: Live, reason: str) -> None:
        count = self.downstream.end_session(lambda other: other is live, SESSION_OVER, f"Session ended: {reason}")
        log.info("a session ended (%s), %d open streams closed", reason, count)

    async def checks(self) -> dict[str, str | None]:
        """What readiness needs, by name: what is wrong with it, or None."""
        store = await self._store_check()
        return {"provider": self._provider_check(), "keys": self._keys_check(), "store": store}

    def _provider_check(self) -> str | None:
        waiting = dict.fromkeys(provider.issuer for provider in self.providers if provider.missing == "metadata")
        return f"not reached yet: {', '.join(waiting)}" if waiting else None

    def _keys_check(self) -> str | None:
        waiting = dict.fromkeys(provider.issuer for provider in self.providers if not provider.ready)
        return f"not known yet: {', '.join(waiting)}" if waiting else None

    async def _store_check(self) -> str | None:
        try:
            await self.store.get("readyz")
        except StoreUnavailable as error:
            return str(error)
        return None

    async def list_or_end(self, name: str | None) -> list[dict[str, Any]] | bool:
        """Everybody's sessions; with a name, end that one: whether there was one."""
        if name is not None:
            return await self.session_page.end_by_name(name)
        return [as_json(listed) for listed in await self.register.everybody()]

    def metrics_now(self) -> list[Family]:
        """All that is counted, with the requests that the log has not written yet."""
        self.access_log.flush()
        return snapshot_of(self.metrics.registry)

    async def _own_metrics(self) -> list[Metric]:
        merged = Sum()
        merged.add(self.metrics_now())
        return merged.families()

    def _session_over(self, session: Session, grant: Grant | None, reason: str) -> None:
        self.audit.ended(session, grant, reason)
        self.metrics.session_ended(reason)

    # The end.

    async def stop(self, *, drain: float = DRAIN, patient: bool = False) -> None:
        """
        Stop listening, let what is under way finish, close websockets with a reason, then everything else.

        Args:
            drain: seconds that may take.
            patient: somebody else serves on: websockets and idle connections are left alone until ``drain`` is over,
                and leave by themselves with the next reply.
        """
        self.gate.draining = True
        self.quick.is_open = False
        self.stop_listening()
        deadline = time.monotonic() + drain
        if patient:
            await self._until(deadline, lambda: not self.connections())
        else:
            self._end_websockets()
            # A request may be on its way on a connection that looks idle: it still gets its answer.
            await self._until(time.monotonic() + drain * IDLE_SHARE, lambda: not self.connections())
            self.downstream.pre_shutdown()
            await self._until(deadline, self._is_idle)
        if self._end_websockets():
            await self._until(time.monotonic() + GRACE + 0.5, self._is_idle)
        await self.downstream.shutdown(timeout=1.0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for site in self.sites:
            for pools in site.every_pools:
                pools.close()
        await self.grants.close()
        await self.providers.close()
        await self.clusters.close()
        if self._admin is not None:
            await self._admin.cleanup()
        await self.store.close()
        self.access_log.flush()
        self.followed.close()
        self.audit.close()

    def stop_listening(self) -> None:
        """Accept nobody new."""
        self._listeners.close()

    @property
    def addresses(self) -> list[Listen]:
        """Where it listens, with the ports that the system chose."""
        return self._listeners.addresses

    def _end_websockets(self) -> bool:
        """Whether there was one."""
        tunnels = [c.writer_of_reply for c in self.connections() if c.tunnel is not None and c.writer_of_reply]
        for tunnel in tunnels:
            tunnel.end(GOING_AWAY, "the gate restarts")
        return bool(tunnels)

    def _is_idle(self) -> bool:
        return not any(connection.is_busy for connection in self.connections())

    @staticmethod
    async def _until(deadline: float, condition: Callable[[], bool]) -> None:
        """Polled, at the end only: an event would cost every request."""
        while time.monotonic() < deadline and not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _alive() -> dict[str, str | None]:
    """A gate that answers, lives."""
    return {"gate": None}
