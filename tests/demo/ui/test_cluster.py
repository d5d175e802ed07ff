"""The demo cluster's pods and logs."""

from oidcgate.demo.ui.cluster import Cluster, log_line, timestamp

from .conftest import NOW, Clock


def test_pods_of_one_namespace_and_of_all(clock: Clock) -> None:
    """A namespace shows its own pods, newest first; none shows all."""
    cluster = Cluster(clock)
    shop = cluster.pods("shop")
    assert {pod.namespace for pod in shop} == {"shop"}
    assert [pod.created for pod in shop] == sorted((pod.created for pod in shop), reverse=True)
    assert {pod.namespace for pod in cluster.pods()} == set(cluster.namespaces)
    assert cluster.pods("nowhere") == []


def test_a_pod_by_name(clock: Clock) -> None:
    """A pod is found in its own namespace only."""
    cluster = Cluster(clock)
    pod = cluster.pods("shop")[0]
    assert cluster.pod("shop", pod.name) == pod
    assert cluster.pod("payments", pod.name) is None
    assert pod.container == pod.app


def test_a_deleted_pod_is_replaced(clock: Clock) -> None:
    """Its Deployment starts another, newborn, with a name of the same stem."""
    cluster = Cluster(clock)
    pod = cluster.pods("shop")[0]
    count = len(cluster.pods())
    clock.now += 5
    successor = cluster.delete(pod)
    assert cluster.pod("shop", pod.name) is None
    assert cluster.pod("shop", successor.name) == successor
    assert successor.name.rpartition("-")[0] == pod.name.rpartition("-")[0]
    assert (successor.created, successor.restarts, successor.status) == (NOW + 5, 0, "Running")
    assert len(cluster.pods()) == count


def test_logs_repeat_themselves(clock: Clock) -> None:
    """The same second gives the same line, with its time in front; two pods differ."""
    cluster = Cluster(clock)
    one, two = cluster.pods("shop")[:2]
    assert cluster.log(one, 3) == [log_line(one, int(NOW) + second) for second in (-2, -1, 0)]
    assert cluster.log(one, 3) == cluster.log(one, 3)
    assert cluster.log(one, 100) != cluster.log(two, 100)
    assert cluster.log(one, 1)[0].startswith("2026-09-21T14:13:20Z ")


def test_a_log_begins_with_its_pod(clock: Clock) -> None:
    """A newborn pod has one line."""
    cluster = Cluster(clock)
    newborn = cluster.delete(cluster.pods("shop")[0])
    assert len(cluster.log(newborn, 100)) == 1


def test_timestamp_is_rfc_3339() -> None:
    """To the second, in UTC."""
    assert timestamp(NOW) == "2026-09-21T14:13:20Z"
