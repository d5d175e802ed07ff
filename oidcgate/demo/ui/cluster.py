"""
The demo cluster: a few namespaces, their pods, and logs that write themselves. Pure, but for its own pods.

A pod's log has one line for each second of its life, and the line follows from the pod's name and the second:
asking twice gives the same text, nothing is stored, and a log can be followed for ever. A deleted pod is
replaced, as its Deployment would.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

# Letters that Kubernetes uses in generated names: no vowels, so that no words appear.
NAME_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Pod:
    """
    One pod with one container. `created` is seconds since the epoch; `status` as the Dashboard shows it.
    """

    namespace: str
    app: str
    name: str
    image: str
    status: str
    restarts: int
    created: float
    node: str
    ip: str

    @property
    def container(self) -> str:
        """The name of its only container."""
        return self.app


# namespace, app, the rest of the name, image, status, restarts, age in seconds
_SEED: Final = (
    ("shop", "cart", "7d9f5c8b6d-x2x7k", "shop/cart:2.14.1", "Running", 0, 3 * HOUR),
    ("shop", "cart", "7d9f5c8b6d-mq4vz", "shop/cart:2.14.1", "Running", 0, 3 * HOUR),
    ("shop", "catalog", "5b6c9d7f48-t8hwn", "shop/catalog:1.9.0", "Running", 1, 6 * DAY),
    ("shop", "checkout", "68d4cc5b9-l9fzp", "shop/checkout:4.0.0-rc1", "CrashLoopBackOff", 17, 51 * MINUTE),
    ("shop", "frontend", "84c7bd6f5d-4kqxs", "shop/frontend:7.3.2", "Running", 0, 26 * HOUR),
    ("shop", "mailer", "29187340-wz6gd", "shop/mailer:1.2.5", "Completed", 0, 9 * HOUR),
    ("payments", "ledger", "6f8b7c9d55-r7vbc", "pay/ledger:11.2.0", "Running", 0, 12 * DAY),
    ("payments", "gateway", "7c5d8f9b66-h2ndk", "pay/gateway:3.8.4", "Running", 2, 12 * DAY),
    ("payments", "reports", "58f9c4d7b-zn5lt", "pay/reports:0.9.1", "Pending", 0, 4 * MINUTE),
    ("monitoring", "prometheus", "6d5f8c7b9-c8qjw", "prom/prometheus:3.5.0", "Running", 0, 40 * DAY),
    ("monitoring", "grafana", "7b8c6d9f4-v6mxp", "grafana/grafana:12.1.0", "Running", 0, 40 * DAY),
    ("kube-system", "coredns", "76f75df574-9wlgs", "coredns:1.12.1", "Running", 0, 63 * DAY),
    ("kube-system", "coredns", "76f75df574-kd7bf", "coredns:1.12.1", "Running", 0, 63 * DAY),
    ("kube-system", "metrics-server", "5f9d7c6b8-s4tzq", "metrics-server:0.8.0", "Running", 3, 63 * DAY),
)

_LINES: Final = (
    "INFO  GET /{app}/items/{n} 200 {ms}ms",
    "INFO  GET /{app}/items?page={n} 200 {ms}ms",
    "INFO  POST /{app}/items 201 {ms}ms request={id}",
    "DEBUG cache hit key={app}:{n}",
    "INFO  GET /healthz 200 1ms",
    "DEBUG pool in_use={n} idle=4",
    "WARN  slow query took {ms}0ms request={id}",
)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def log_line(pod: Pod, second: int) -> str:
    """The text that `pod` logged at `second` (since the epoch), with its time in front."""
    noise = zlib.crc32(f"{pod.name}/{second}".encode())
    text = _LINES[noise % len(_LINES)].format(
        app=pod.app, n=noise // 7 % 97, ms=noise // 701 % 90 + 2, id=f"{noise:08x}"
    )
    return f"{timestamp(second)} {text}"


class Cluster:
    """The namespaces and pods; `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random.Random(7)  # the same replacements in each run
        now = clock()
        pods = [
            Pod(
                namespace,
                app,
                f"{app}-{suffix}",
                f"registry.example.com/{image}",
                status,
                restarts,
                now - age,
                f"node-{number % 3 + 1}",
                f"10.42.{number % 3}.{number + 11}",
            )
            for number, (namespace, app, suffix, image, status, restarts, age) in enumerate(_SEED)
        ]
        self._pods = {(pod.namespace, pod.name): pod for pod in pods}
        self.namespaces = tuple(dict.fromkeys(pod.namespace for pod in pods))
        self.created = now - 64 * DAY

    def pods(self, namespace: str = "") -> list[Pod]:
        """The pods of `namespace` ('' = of all), newest first."""
        chosen = [pod for pod in self._pods.values() if namespace in ("", pod.namespace)]
        return sorted(chosen, key=lambda pod: (-pod.created, pod.name))

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name, or None."""
        return self._pods.get((namespace, name))

    def delete(self, pod: Pod) -> Pod:
        """Removes `pod` and returns the one that its Deployment puts in its place."""
        del self._pods[pod.namespace, pod.name]
        stem = pod.name.rpartition("-")[0]
        suffix = "".join(self._random.choices(NAME_LETTERS, k=5))
        successor = replace(pod, name=f"{stem}-{suffix}", status="Running", restarts=0, created=self._clock())
        self._pods[successor.namespace, successor.name] = successor
        return successor

    def log(self, pod: Pod, lines: int) -> list[str]:
        """The newest lines of `pod`'s log, oldest first, at most `lines` and none from before its birth."""
        now = int(self._clock())
        first = max(int(pod.created), now - lines + 1)
        return [log_line(pod, second) for second in range(first, now + 1)]
