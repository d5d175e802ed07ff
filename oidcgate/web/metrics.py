"""
What happens now and then, counted where it happens: logins, renewals, calls to the provider and the store.

Edge: prometheus-client, with a registry of its own for each gate. Requests are counted by ``tally``, in batches.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from oidcgate.errors import OidcgateError, UpstreamError
from oidcgate.web.site import SiteRuntime
from oidcgate.web.tally import BUCKETS, RequestTally

CALLS = {"token endpoint": "token"}  # as ``net.provider`` calls it: as metrics do
SESSION_ENDS = {
    "the person signed out": "signed_out",
    "it was ended from another browser of yours": "ended_by_owner",
    "an administrator ended it": "ended_by_admin",
    "the identity provider ended the login": "ended_by_provider",
    "it reached its longest life": "ran_out",
    "it was not used for too long, or reached its longest life": "ran_out",
    "its tokens could not be renewed": "not_renewed",
    "the same person signed in from too many browsers": "too_many",
}
OTHER_END = "other"


class Metrics:
    """
    The counters of one gate.

    Attributes:
        registry: has all of them; read by ``snapshot``.
        tally: counts requests.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tally = RequestTally()
        self.registry.register(self.tally)
        self._logins = self._counter("logins", "Steps of logins, by how they ended.", "site", "step", "outcome")
        self._ends = self._counter("sessions_ended", "Sessions that are over, by why.", "reason")
        self._refreshes = self._counter("refreshes", "Calls for new tokens, by how they ended.", "outcome")
        self._upstream_errors = self._counter("upstream_errors", "Requests that a UI failed.", "site", "kind")
        self._calls = self._histogram("provider_call", "Calls to the provider.", "call")
        self._store = self._histogram("store", "Operations of the session store.", "operation")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"oidcgate_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        full = f"oidcgate_{name}_duration_seconds"
        return Histogram(full, text, (*labels, "outcome"), registry=self.registry, buckets=BUCKETS)

    def begin(self, sites: Iterable[SiteRuntime]) -> None:
        """Series that are to begin at 0: Prometheus takes no notice of a series' first value."""
        for outcome in ("ok", "refused", "unavailable"):
            self._refreshes.labels(outcome)
        for site in sites:
            for kind in ("connect", "timeout", "protocol", "lost"):
                self._upstream_errors.labels(site.label, kind)
            for outcome in ("ok", "refused", "unavailable"):
                self._logins.labels(site.label, "callback", outcome)

    def login(self, site: SiteRuntime, step: str, outcome: str) -> None:
        """A step of a login (start, callback or ticket) is over."""
        self._logins.labels(site.label, step, outcome).inc()

    def session_ended(self, reason: str) -> None:
        """A session is over; told once for all processes."""
        self._ends.labels(SESSION_ENDS.get(reason, OTHER_END)).inc()

    def refreshed(self, outcome: str) -> None:
        """A call for new tokens is over."""
        self._refreshes.labels(outcome).inc()

    def upstream_failed(self, site: SiteRuntime, failure: OidcgateError) -> None:
        """A UI did not answer, or not as it should; what the browser's side ended is nobody's failure."""
        if isinstance(failure, UpstreamError) and failure.kind:
            self._upstream_errors.labels(site.label, failure.kind).inc()

    def provider_called(self, what: str, seconds: float, status: int) -> None:
        """As ``net.provider_calls.OnCall``; a provider that refuses is one that answers."""
        outcome = "refused" if 400 <= status < 500 else word(200 <= status < 300)
        self._calls.labels(CALLS.get(what, what), outcome).observe(seconds)

    def stored(self, operation: str, seconds: float, is_good: bool) -> None:
        """As ``web.timedstore.OnOperation``."""
        self._store.labels(operation, word(is_good)).observe(seconds)


def word(is_good: bool) -> str:
    """How a call ended."""
    return "ok" if is_good else "error"
