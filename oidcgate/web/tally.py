"""
What became of requests, added up from the rows of the access log.

Edge by what calls it. Rules of this file:
- Nothing is counted while a request is under way: rows wait for the log's next batch, or until somebody asks.
- Labels have few values: a site as it is configured, and one of the words below.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from oidcgate.web.logs import LoggedSite, Row

OK = "ok"  # the UI answered below 500
UI_ERROR = "ui_error"
ALLOWED = "allowed"  # a proxy asked, and the answer was yes
OWN_PAGE = "own_page"
LOGIN = "login"  # sent to sign in, or told to
FORBIDDEN = "forbidden"
REFUSED = "refused"  # the request broke a rule
UNAVAILABLE = "unavailable"  # the gate, or what it needs, could not
WEBSOCKET = "websocket"
ABORTED = "aborted"  # the reply broke off, or the browser left

GONE = 499  # nginx's word for a browser that left before the reply
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
LIMITS = (*(f"{bucket:g}" for bucket in BUCKETS), "+Inf")


def outcome_of(status: int, *, answered: bool) -> str:
    """What a status means; ``answered`` when it is the UI's."""
    if answered:
        return WEBSOCKET if status == 101 else OK if status < 500 else UI_ERROR
    if status == GONE:
        return ABORTED
    if status < 400:
        return OWN_PAGE
    if status >= 500:
        return UNAVAILABLE
    return {401: LOGIN, 403: FORBIDDEN}.get(status, REFUSED)


class Times:
    """A histogram of seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(LIMITS)
        self.sum = 0.0

    def add(self, times: list[float]) -> None:
        """Some more, in any order; below zero is what a clock that was set back makes of hardly any time."""
        times.sort()  # then a look a limit, not one a time
        before = 0
        for index, limit in enumerate(BUCKETS):
            upto = bisect_right(times, limit, before)
            self.counts[index] += upto - before
            before = upto
        self.counts[-1] += len(times) - before
        self.sum += sum(times) if times[0] >= 0 else sum(time for time in times if time > 0)

    def add_all(self, other: "Times") -> None:
        """Another one's, too."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus wants it: each limit, and how many were not above it."""
        total, rows = 0, []
        for limit, count in zip(LIMITS, self.counts, strict=True):
            total += count
            rows.append((limit, float(total)))
        return rows


class Line:
    """Requests of one site with one outcome."""

    __slots__ = ("bytes", "count", "times", "waits")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.times = Times()
        self.waits = Times()  # until the UI answered


class RequestTally(Collector):
    """Adds up rows of the access log; Prometheus reads it."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}

    def __call__(self, rows: Sequence[Row]) -> None:
        """Count a batch."""
        alike: defaultdict[tuple[LoggedSite | None, int, str, bool], list[Row]] = defaultdict(list)
        for row in rows:
            _, site, _, _, _, status, _, _, _, _, waited, word, _ = row
            alike[site, status, word, waited >= 0].append(row)
        for (site, status, word, answered), some in alike.items():
            self._add("" if site is None else site.label, word or outcome_of(status, answered=answered), some)

    def _add(self, label: str, outcome: str, rows: list[Row]) -> None:
        line = self._lines.setdefault((label, outcome), Line())
        line.count += len(rows)
        line.bytes += sum([row[6] for row in rows])
        line.times.add([row[7] for row in rows])
        if rows[0][10] >= 0:
            line.waits.add([row[10] for row in rows])

    def collect(self) -> Iterable[Metric]:
        """As prometheus-client calls it."""
        labels = ("site", "outcome")
        requests = CounterMetricFamily("oidcgate_requests", "Requests that are over.", labels=labels)
        seconds = HistogramMetricFamily(
            "oidcgate_request_duration_seconds", "From a request's head to the end of its reply.", labels=labels
        )
        sent = CounterMetricFamily("oidcgate_response_bytes", "Bytes sent in replies.", labels=labels)
        for key, line in self._lines.items():
            requests.add_metric(key, line.count)
            seconds.add_metric(key, line.times.cumulative(), line.times.sum)
            sent.add_metric(key, line.bytes)
        waits = HistogramMetricFamily(
            "oidcgate_upstream_duration_seconds",
            "From sending a request to the head of the UI's reply.",
            labels=["site"],
        )
        for label, times in self._waited().items():
            waits.add_metric([label], times.cumulative(), times.sum)
        return (requests, seconds, sent, waits)

    def _waited(self) -> dict[str, Times]:
        """By site, of all outcomes; of sites whose UI has answered."""
        found: dict[str, Times] = {}
        for (label, _), line in self._lines.items():
            if any(line.waits.counts):
                found.setdefault(label, Times()).add_all(line.waits)
        return found
