"""
deploy/kubernetes: every file is valid, built, taken by a real API server, and keeps to what it promises about security.

The configurations inside run in front of the UIs' doubles (the central one with real Redis and nginx, too). No container
engine is at hand: images are not started.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import kubernetes_validate
import pytest
import pytest_asyncio
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

import oidcgate
from oidcgate.config.load import load_config
from oidcgate.snippets.ingress_nginx import render
from oidcgate.snippets.plan import make_plan
from oidcgate.web import crew, master
from oidcgate.web.sessions import OUTAGE_WINDOW
from tests.deploy import crds
from tests.deploy.kubernetes_folders import (
    ALONE,
    FOLDER,
    FOLDERS,
    ROOT,
    Container,
    build,
    containers,
    files,
    head,
    made_by_users,
    named_by,
    written,
)
from tests.deploy.kubernetes_stacks import SecureDashboard2, configuration, gated_by, mapped
from tests.deploy.manifests import Document, as_stream, check, documents, gate_configs, named, unmounted, validate
from tests.docs import dex as dex_schema
from tests.docs.pages import shell_commands
from tests.lab import nginx
from tests.lab.ingress_nginx import MODULE_FOLDER, MODULES, http_block
from tests.lab.kube.authority import Authority
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.lab import Lab, running_lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.lab.peers import AskedStack
from tests.support.browser import Browser
from tests.support.processes import LIMIT
from tests.support.redis import RedisServer
from tests.support.uis import UI
from tests.support.uis_dashboard_7 import Dashboard7
from tests.support.uis_headlamp import Headlamp

pytestmark = [pytest.mark.real, pytest.mark.timeout(BUILD_LIMIT)]  # the first of them builds kubectl

EVERY_FOLDER = pytest.mark.parametrize("folder", FOLDERS)
SIDECARS = tuple(name for name in FOLDERS if name.startswith("sidecar-"))
WITH_GATE = tuple(name for name in FOLDERS if name != "central/other-cluster")
CONTAINERS = containers()
EVERY_CONTAINER = pytest.mark.parametrize("container", CONTAINERS, ids=[each.id for each in CONTAINERS])
GATES = [each for each in CONTAINERS if each.is_gate]
EVERY_GATE = pytest.mark.parametrize("gate", GATES, ids=[each.id for each in GATES])
EXAMPLE = re.compile(r"\b(?:[a-z0-9*-]+\.)*example\.com\b")
NETWORK = re.compile(r"\b\d+\.\d+\.\d+\.\d+/\d+\b")
UNTYPED = {"redis.conf": "test_redis_s_configuration", ".gitignore": "test_secrets_are_never_committed"}
CONFIGURATIONS = {
    "config.yaml": "test_the_gate_takes_each_configuration",
    "dex-config.yaml": "test_dex_s_configuration",
}
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# Where each UI listens, by its image: the flags that say so. What is not here is not known to be fenced.
LISTENS = {
    "kubernetesui/dashboard": ("--bind-address=127.0.0.1", "--insecure-bind-address=127.0.0.1"),
    "kubernetesui/dashboard-web": ("--bind-address=127.0.0.1", "--insecure-bind-address=127.0.0.1"),
    "kubernetesui/dashboard-api": ("--bind-address=127.0.0.1", "--insecure-bind-address=127.0.0.1"),
    "kubernetesui/dashboard-auth": ("--address=127.0.0.1",),
    "headlamp-k8s/headlamp": ("-listen-addr=127.0.0.1",),
}


@pytest.fixture
def built_by(tmp_path: Path) -> Any:
    """Builds folders, each in a place of its own."""
    return lambda folder: build(folder, tmp_path / folder.replace("/", "-"))


# Every file


@pytest.mark.parametrize("name", files())
def test_every_file_is_used_and_valid(name: str) -> None:
    """It belongs to what its folder applies, or is meant to be applied by itself; nothing lies about untested."""
    path = FOLDER / name
    if path.name in UNTYPED or path.name in CONFIGURATIONS:
        assert {**UNTYPED, **CONFIGURATIONS}[path.name] in globals()
        return
    assert path.suffix == ".yaml"
    if path.name == "kustomization.yaml":
        assert str(Path(name).parent) in FOLDERS
        return
    validate(list(written(name)))
    assert name in ALONE or path.name in named_by(str(Path(name).parent))


@EVERY_FOLDER
def test_each_folder_builds(folder: str, built_by: Any) -> None:
    """With `kubectl apply -k`, when the files that it asks for are there; what comes out is valid."""
    objects = built_by(folder)
    validate(objects)
    generated = [each for each in objects if each["kind"] == "ConfigMap"]
    assert objects
    assert len(
        {(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace")) for each in objects}
    ) == len(objects)
    assert {name for each in generated for name in each.get("data", {})} <= {"config.yaml", "redis.conf"}


@EVERY_FOLDER
def test_the_oldest_kubernetes_knows_it_all(folder: str, built_by: Any) -> None:
    """The page says from which release on; its schemas have every field that is used."""
    (oldest,) = re.findall(r"Kubernetes (1\.\d+) or newer", (ROOT / "docs" / "kubernetes.md").read_text())
    for each in built_by(folder):
        kubernetes_validate.validate(each, oldest, strict=True)


@pytest.mark.parametrize("folder", WITH_GATE)
def test_the_gate_takes_each_configuration(folder: str, built_by: Any, tmp_path: Path) -> None:
    """By the real `oidcgate check`; every file that it names is in the pod."""
    objects = built_by(folder)
    (text,) = [each for name, each in gate_configs(objects).items() if name.startswith("oidcgate")]
    assert "good" in check(text, tmp_path)
    workload = next(
        each
        for each in objects
        if each["kind"] == "Deployment"
        and any("oidcgate" in c["name"] for c in each["spec"]["template"]["spec"]["containers"])
    )
    assert unmounted(text, workload["spec"]["template"]["spec"], objects) == []


@EVERY_FOLDER
def test_what_is_to_be_changed_is_listed(folder: str) -> None:
    """Every name and network that is somebody else's stands at the top of the kustomization, and none for nothing."""
    text = "".join(path.read_text() for path in (FOLDER / folder).glob("*.yaml") if path.name != "kustomization.yaml")
    top = head(folder)
    body = (FOLDER / folder / "kustomization.yaml").read_text().removeprefix(top)
    used = {*EXAMPLE.findall(text + body), *NETWORK.findall(text)}
    assert {name.removeprefix("*.") for name in used} <= set(EXAMPLE.findall(top)) | set(NETWORK.findall(top))
    listed = re.findall(r"^#   (\S+) +\S", top, re.M)
    assert listed
    own = set(re.findall(r"^  namespace: (\S+)", text, re.M)) | {"oidcgate"}
    assert set(re.findall(r"kubernetes.io/metadata.name: ([\w-]+)", text)) <= own | set(listed)
    for name in set(listed) - made_by_users(folder):
        assert name in text + body, name
    assert made_by_users(folder) <= set(listed)


def test_secrets_are_never_committed() -> None:
    """What users make for their secrets is ignored by git, and no Secret of ours has anything in it."""
    ignored = (FOLDER / ".gitignore").read_text().splitlines()
    assert {name for folder in FOLDERS for name in made_by_users(folder)} == {*ignored} - {ignored[0]}
    manifests = [name for name in files() if name.endswith(".yaml") and Path(name).name not in CONFIGURATIONS]
    secrets = [each for name in manifests for each in written(name) if each["kind"] == "Secret"]
    assert secrets
    assert all(each.keys() == {"apiVersion", "kind", "metadata"} for each in secrets)


# What a real API server says


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    """A control plane that knows Gateway API."""
    async with running_lab() as running:
        routes = crds.folder() / "gateway.networking.k8s.io_httproutes.yaml"
        for arguments in (
            ("apply", "--server-side", "-f", str(routes)),
            ("wait", "--for=condition=established", "--timeout=30s", "-f", str(routes)),
            ("create", "namespace", "shop"),
        ):
            done = await running.cluster.kubectl(*arguments)
            assert done.returncode == 0 or "already exists" in done.stderr, done.stderr
        yield running


async def taken(lab: Lab, objects: list[Document]) -> None:
    """The API server would take them, namespaces being there, and has nothing to warn of."""
    namespaces = [each for each in objects if each["kind"] == "Namespace"]
    for some, arguments in ((namespaces, ()), (objects, ("--dry-run=server", "--validate=strict"))):
        if some:
            done = await lab.cluster.kubectl("apply", "-f", "-", *arguments, stdin=as_stream(some))
            assert done.returncode == 0, done.stderr
            assert "arning" not in done.stderr, done.stderr


@EVERY_FOLDER
@pytest.mark.asyncio(loop_scope="session")
async def test_the_api_server_takes_each_folder(folder: str, built_by: Any, lab: Lab) -> None:
    """Namespaces for real, all else as a dry run; pods pass the restricted profile where the namespace asks for it."""
    objects = await asyncio.to_thread(built_by, folder)
    await taken(lab, objects)


@pytest.mark.parametrize("folder", WITH_GATE)
@pytest.mark.asyncio(loop_scope="session")
async def test_the_api_server_takes_each_pod(folder: str, built_by: Any, lab: Lab) -> None:
    """The restricted profile is enforced upon pods alone, so each template is tried as a pod."""
    objects = await asyncio.to_thread(built_by, folder)
    await taken(lab, [each for each in objects if each["kind"] == "Namespace"])
    pods = [pod_of(each) for each in objects if each["kind"] in ("Deployment", "StatefulSet")]
    assert pods
    for pod in pods:
        done = await lab.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=as_stream([pod]))
        assert done.returncode == 0, done.stderr


def pod_of(workload: Document) -> Document:
    """One pod of a workload; claims are left to it."""
    template = workload["spec"]["template"]
    claims = workload["spec"].get("volumeClaimTemplates", [])
    extra = [{"name": each["metadata"]["name"], "emptyDir": {}} for each in claims]
    spec = {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *extra]}
    metadata = {
        "name": "tried",
        "namespace": workload["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.asyncio(loop_scope="session")
async def test_the_api_server_takes_what_is_applied_by_itself(name: str, built_by: Any, lab: Lab) -> None:
    """After its folder."""
    objects = await asyncio.to_thread(built_by, str(Path(name).parent))
    await taken(lab, [each for each in objects if each["kind"] == "Namespace"])
    await taken(lab, list(written(name)))


DASHBOARD, HEADLAMP = "kubernetes-dashboard:kubernetes-dashboard", "headlamp:headlamp"
DEX, GATE = "oidcgate:dex", "oidcgate:oidcgate"
OWN, MAPS = "secrets/kubernetes-dashboard-csrf", "configmaps/kubernetes-dashboard-settings"
TOKENS, DEFINITIONS = "refreshtokens.dex.coreos.com", "customresourcedefinitions.apiextensions.k8s.io"
MAY = [  # folder, account, verb, resource with its group or a name, namespace, whether
    ("central", DEX, "create", DEFINITIONS, "", True),
    ("central", DEX, "get", DEFINITIONS, "", False),
    ("central", DEX, "update", TOKENS, "oidcgate", True),
    ("central", DEX, "list", TOKENS, "shop", False),
    ("central", DEX, "get", "secrets", "oidcgate", False),
    ("central", GATE, "list", TOKENS, "oidcgate", False),
    ("sidecar-dashboard-2", DASHBOARD, "update", OWN, "kubernetes-dashboard", True),
    ("sidecar-dashboard-2", DASHBOARD, "get", "secrets", "kubernetes-dashboard", False),
    ("sidecar-dashboard-2", DASHBOARD, "list", "pods", "shop", False),
    ("sidecar-dashboard-7", DASHBOARD, "update", MAPS, "kubernetes-dashboard", True),
    ("sidecar-dashboard-7", DASHBOARD, "get", OWN, "kubernetes-dashboard", False),
    ("sidecar-headlamp", HEADLAMP, "list", "pods", "headlamp", False),
]


@pytest.mark.parametrize("folder", sorted({folder for folder, *_ in MAY}))
@pytest.mark.asyncio(loop_scope="session")
async def test_what_each_account_may_do(folder: str, built_by: Any, lab: Lab) -> None:
    """As the real API server judges it, with this folder's roles alone in force."""
    objects = await asyncio.to_thread(built_by, folder)
    await taken(lab, [each for each in objects if each["kind"] == "Namespace"])
    roles = as_stream([each for each in objects if each["apiVersion"].startswith("rbac.")])
    if roles:
        done = await lab.cluster.kubectl("apply", "-f", "-", stdin=roles)
        assert done.returncode == 0, done.stderr
    asked = [row[1:] for row in MAY if row[0] == folder]
    said = [await settled(lab, *row) for row in asked]
    if roles:
        done = await lab.cluster.kubectl("delete", "-f", "-", stdin=roles)
        assert done.returncode == 0, done.stderr
    assert said == [expected for *_, expected in asked]


async def settled(lab: Lab, account: str, verb: str, what: str, namespace: str, expected: bool) -> bool:
    """What the API server says in the end: it learns of roles a moment after it has stored them."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LIMIT):
            while await may(lab, account, verb, what, namespace) is not expected:
                await asyncio.sleep(0.02)
            return expected
    return not expected


async def may(lab: Lab, account: str, verb: str, what: str, namespace: str) -> bool:
    """Whether an account may do something."""
    named_one, _, name = what.partition("/")
    resource, _, group = named_one.partition(".")
    attributes = {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace}
    spec = {"user": f"system:serviceaccount:{account}", "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = await lab.cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer.status == 201, answer.body
    return bool(answer.body["status"]["allowed"])


# Policies


@EVERY_CONTAINER
def test_no_container_has_more_than_it_needs(container: Container) -> None:
    """Nobody is root, nobody can become it, no root file system can be written, and every image has a version."""
    security = container.security
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert container.spec["resources"]["limits"]["memory"]
    name, _, tag = container.spec["image"].rpartition(":")
    assert "/" in name
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(-alpine)?", tag)


@EVERY_GATE
def test_the_gate_is_probed_on_its_admin_port(gate: Container) -> None:
    """By the kubelet, from outside the pod; it is told to end in time to let everybody finish."""
    ports = {each["name"]: each["containerPort"] for each in gate.spec["ports"]}
    said = configuration(gate.folder)
    assert said["admin"]["listen"] == f"0.0.0.0:{ports['admin']}"
    assert said["listen"] == [f"0.0.0.0:{port}" for name, port in ports.items() if name != "admin"]
    paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert gate.spec[probe]["httpGet"] == {"path": path, "port": "admin"}
    told = master.STUCK + 2 * master.PING - crew.SILENT  # seconds for which /livez tells of a stuck worker
    assert 10 * (gate.spec["livenessProbe"]["failureThreshold"] - 1) > told, "the master replaces that one worker"
    ready = gate.spec["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] >= OUTAGE_WINDOW, "who is signed in goes on so long"
    quiet = gate.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert gate.pod["terminationGracePeriodSeconds"] >= quiet + 30
    assert gate.spec["image"] == f"ghcr.io/oidcgate/oidcgate:{oidcgate.__version__}"
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["oidcgate"]' in image
    assert f"USER {gate.security['runAsUser']}:{gate.security['runAsGroup']}" in image
    secrets = [each["secret"] for each in gate.pod["volumes"] if "secret" in each]
    assert all(each["defaultMode"] == 0o440 for each in secrets)
    assert gate.pod["securityContext"]["fsGroup"] == gate.security["runAsGroup"]


@EVERY_CONTAINER
def test_only_who_needs_the_account_has_its_token(container: Container) -> None:
    """Dex and the UIs that ask the API server; never the gate, never Redis."""
    mounts = [each["mountPath"] for each in container.spec.get("volumeMounts", [])]
    if container.workload == "dex":
        assert container.pod["automountServiceAccountToken"] is True
        return
    assert container.pod["automountServiceAccountToken"] is False
    is_ui = container.folder in SIDECARS and not container.is_gate
    assert (ACCOUNT in mounts) is is_ui


@pytest.mark.parametrize("folder", SIDECARS)
def test_no_ui_listens_outside_its_pod(folder: str, built_by: Any) -> None:
    """Each is told loopback, by the flag that it has; no port of it is named; the configuration goes there."""
    uis = [each for each in CONTAINERS if each.folder == folder and not each.is_gate]
    assert uis
    for ui in uis:
        image = ui.spec["image"].partition("/")[2].rpartition(":")[0]
        assert set(LISTENS[image]) <= set(ui.spec["args"])
        assert "ports" not in ui.spec
        assert not re.search(r"0\.0\.0\.0|::", " ".join(ui.spec["args"]))
    (site,) = configuration(folder)["sites"]
    addresses = [site["upstream"]["url"], *(route["url"] for route in site["upstream"].get("routes", []))]
    flags = " ".join(flag for ui in uis for flag in ui.spec["args"])
    for address in addresses:
        assert re.fullmatch(r"https?://127\.0\.0\.1:\d+", address)
        assert re.search(rf"port={address.rpartition(':')[2]}\b", flags) or address == "https://127.0.0.1:8443"
    assert {port["targetPort"] for port in named(built_by(folder), "Service")["spec"]["ports"]} == {"http"}


@pytest.mark.parametrize("folder", SIDECARS)
def test_the_ui_is_the_sidecar(folder: str) -> None:
    """A native one: it is there before the gate and until the gate has let everybody finish."""
    for each in CONTAINERS:
        if each.folder == folder:
            is_sidecar = each.spec in each.pod.get("initContainers", [])
            assert is_sidecar is not each.is_gate
            assert each.spec.get("restartPolicy") == (None if each.is_gate else "Always")


def test_the_dashboard_2_cannot_act_for_everybody() -> None:
    """It is reached over TLS, cannot be skipped, and its account may touch its own objects alone."""
    folder = "sidecar-dashboard-2"
    (site,) = configuration(folder)["sites"]
    assert site["upstream"]["url"].startswith("https:")
    (args,) = [each.spec["args"] for each in CONTAINERS if each.folder == folder and not each.is_gate]
    assert "--auto-generate-certificates" in args
    assert not [flag for flag in args if flag.startswith(("--enable-skip-login", "--enable-insecure-login"))]
    role = named(list(written(f"{folder}/account.yaml")), "Role")
    assert all("resourceNames" in rule for rule in role["rules"])


def test_headlamp_s_account_may_do_nothing() -> None:
    """Nothing is bound to it."""
    kinds = {each["kind"] for name in files() if name.startswith("sidecar-headlamp/") for each in kube(name)}
    assert "ServiceAccount" in kinds
    assert not [kind for kind in kinds if "Role" in kind]


def kube(name: str) -> list[Document]:
    """The objects of a file, if it has any."""
    said = FOLDER / name
    return list(written(name)) if said.suffix == ".yaml" and "apiVersion: " in said.read_text() else []


@pytest.mark.parametrize("folder", WITH_GATE)
def test_every_pod_is_fenced(folder: str, built_by: Any) -> None:
    """One policy admits to each pod: from a named namespace, or from the gate's own pods, to a named port."""
    objects = built_by(folder)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    for workload in (each for each in objects if each["kind"] in ("Deployment", "StatefulSet")):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        (fence,) = [
            each["spec"]
            for each in policies
            if each["metadata"]["namespace"] == workload["metadata"]["namespace"]
            and each["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
        ]
        assert fence["policyTypes"] == ["Ingress"]
        admitted = {
            (source(peer), each["port"]) for rule in fence["ingress"] for each in rule["ports"] for peer in peers(rule)
        }
        assert admitted == FENCES.get((folder, workload["metadata"]["name"]), BROWSERS)


BROWSERS = {("namespace ingress-nginx", 8080), ("namespace monitoring", 8081)}
FENCES = {
    ("central", "oidcgate"): {("everybody", 8080), ("namespace monitoring", 8081)},
    ("central", "redis"): {("pods oidcgate", 6379)},
    ("central", "dex"): {("namespace ingress-nginx", 5556), ("namespace monitoring", 5558)},
}


def peers(rule: Document) -> list[Document]:
    """Who a rule admits; nobody named is everybody."""
    return rule.get("from") or [{}]


def source(peer: Document) -> str:
    """One of them in words; only one namespace, or pods of the policy's own, are as close as these files want it."""
    if not peer:
        return "everybody"
    ((kind, selector),) = peer.items()
    ((label, value),) = selector["matchLabels"].items()
    names = {
        ("namespaceSelector", "kubernetes.io/metadata.name"): "namespace",
        ("podSelector", "app.kubernetes.io/name"): "pods",
    }
    return f"{names[kind, label]} {value}"


def test_only_the_gate_reaches_the_dashboard() -> None:
    """In the standalone folder, where it is the chart's: a policy names the gate's pods, which bear those labels."""
    fences = [each for each in written("standalone/networkpolicies.yaml") if each["kind"] == "NetworkPolicy"]
    by_name = {each["metadata"]["name"]: each for each in fences}
    ui, kong = by_name["only-the-gate"], by_name["nobody-by-kong"]
    (rule,) = ui["spec"]["ingress"]
    (place,) = rule["from"]
    gate = named(list(written("standalone/gate.yaml")), "Deployment")
    assert place["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": gate["metadata"]["namespace"]}
    assert place["podSelector"]["matchLabels"] == gate["spec"]["template"]["metadata"]["labels"]
    assert ui["metadata"]["namespace"] == kong["metadata"]["namespace"] == "kubernetes-dashboard"
    assert "ingress" not in kong["spec"]
    (site,) = configuration("standalone")["sites"]
    addresses = {site["upstream"]["url"], *(route["url"] for route in site["upstream"]["routes"])}
    assert all(address.endswith(".kubernetes-dashboard.svc:8000") for address in addresses)
    assert rule["ports"] == [{"port": 8000}]


# The central topology


def test_the_other_cluster_has_what_the_gate_prints() -> None:
    """Letter by letter, from this very configuration."""
    plan = make_plan(
        load_config(FOLDER / "central" / "config.yaml", files=False),
        site="https://*.k8s.example.com",
        gate="https://auth.k8s.example.com",
        upstream="http://headlamp.headlamp.svc:80",
    )
    assert (FOLDER / "central" / "other-cluster" / "ingress.yaml").read_text() == render(plan)


def test_dex_s_configuration(built_by: Any) -> None:
    """It knows the gate by the id and redirect URI that the gate uses, and takes the secret from where it is put."""
    said = yaml.safe_load((FOLDER / "central" / "dex-config.yaml").read_text())
    gate = configuration("central")
    assert dex_schema.problems(said) == []
    assert said["issuer"] == gate["provider"]["issuer"]
    (client,) = said["staticClients"]
    assert client["id"] == gate["provider"]["client_id"]
    assert client["redirectURIs"] == [f"{gate['sites'][0]['url']}/oauth2/callback"]
    assert said["storage"] == {"type": "kubernetes", "config": {"inCluster": True}}
    objects = built_by("central")
    (dex,) = named(objects, "Deployment", "dex")["spec"]["template"]["spec"]["containers"]
    (variable,) = dex["env"]
    assert variable["name"] == client["secretEnv"]
    reference = variable["valueFrom"]["secretKeyRef"]
    assert reference["key"] in named(objects, "Secret", reference["name"])["data"]
    ports = {each["containerPort"] for each in dex["ports"]}
    assert ports == {int(said[part]["http"].rpartition(":")[2]) for part in ("web", "telemetry")}


def redis_of(tmp_path: Path) -> RedisServer:
    """A real one with the folder's configuration, started by the pod's own words, paths and port mapped."""
    objects = written("central/redis.yaml")
    (container,) = named(list(objects), "StatefulSet")["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    places = {"/run/secrets/redis": "secret", "/run/redis": "run", "/data": "data", "/etc/redis": "etc"}
    text = (FOLDER / "central" / "redis.conf").read_text()
    for place, name in places.items():
        assert place in [each["mountPath"] for each in container["volumeMounts"]]
        (tmp_path / name).mkdir()
        text = text.replace(place, str(tmp_path / name))
        script = script.replace(place, str(tmp_path / name))
    (tmp_path / "secret" / "password").write_text("made-redis-password")
    (tmp_path / "etc" / "redis.conf").write_text(text)
    prepared = script.replace("exec redis-server ", "test -r ")
    assert prepared != script
    subprocess.run([*container["command"], prepared], check=True)
    return RedisServer(tmp_path / "data", ("--include", str(tmp_path / "etc" / "redis.conf")))


def client_of(server: RedisServer, password: str | None = "made-redis-password") -> Redis:
    """One that asks once."""
    return Redis(port=server.port, password=password, decode_responses=True, retry=Retry(NoBackoff(), 0))


def test_redis_s_configuration(tmp_path: Path) -> None:
    """A real Redis takes it, writes everything down, throws nothing away, and answers nobody without the password."""
    with redis_of(tmp_path) as server:
        with client_of(server, None) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        with client_of(server) as client:
            said: Any = client.config_get("*")
        assert said["appendonly"] == "yes"
        assert said["maxmemory-policy"] == "noeviction"
        assert said["save"] == ""


# Running it


def signed(double: UI, path: str) -> dict[str, Any]:
    """The claims of the token that came with the last request for a path."""
    (bearer,) = double.asked(path)[-1].values("Authorization")
    scheme, _, token = bearer.partition(" ")
    assert scheme == "Bearer"
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def walk(folder: str, parts: dict[str, UI], place: Path, asked: dict[str, str]) -> None:
    """
    Somebody signs in, and each path gets to its part of the UI with their own token.

    Args:
        asked: the address in the configuration that serves a path, by the path.
    """
    async with gated_by(folder, parts, place) as (stack, cluster):
        browser = Browser()
        page = await browser.sign_in(f"{stack.url}/", "alice")
        assert page.status == 200, page.text[:500]
        for path, address in asked.items():
            answer = await browser.fetch(stack.url + path)
            assert answer.status == 200, (path, answer.text)
            claims = signed(parts[address], path)
            assert (claims["email"], claims["aud"]) == ("alice@example.com", "gate")
            assert not [other for at, other in parts.items() if at != address and other.asked(path)]
        assert cluster.calls  # the person's token was tried at the API server, over TLS with the cluster's CA


async def test_dashboard_2_behind_its_sidecar_s_configuration(tmp_path: Path) -> None:
    """Over TLS on loopback, with a certificate that nobody can check: the person's own token arrives."""
    double = SecureDashboard2(Authority(tmp_path).server_context("dashboard"))
    address = "https://127.0.0.1:8443"
    await walk("sidecar-dashboard-2", {address: double}, tmp_path, {"/api/v1/pod/shop": address})


async def test_dashboard_7_behind_its_sidecar_s_configuration(tmp_path: Path) -> None:
    """Three services on three ports, without Kong."""
    parts: dict[str, UI] = {f"http://127.0.0.1:{port}": Dashboard7(kong=False) for port in (9000, 9001, 9002)}
    asked = {"/settings": 9000, "/api/v1/me": 9001, "/api/v1/pod/shop": 9002}
    await walk(
        "sidecar-dashboard-7", parts, tmp_path, {path: f"http://127.0.0.1:{port}" for path, port in asked.items()}
    )


async def test_headlamp_behind_its_sidecar_s_configuration(tmp_path: Path) -> None:
    """The token comes in Headlamp's own header, too."""
    double = Headlamp()
    address, path = "http://127.0.0.1:4466", "/clusters/main/api/v1/pods"
    await walk("sidecar-headlamp", {address: double}, tmp_path, {path: address})
    arrival = double.asked(path)[-1]
    assert arrival.values("Authorization") == [f"Bearer {arrival.values('X-Forwarded-Id-Token')[0]}"]


async def test_dashboard_7_behind_the_standalone_configuration(tmp_path: Path) -> None:
    """The chart's services, each by its own name."""
    names = {
        part: f"http://kubernetes-dashboard-{part}.kubernetes-dashboard.svc:8000" for part in ("web", "auth", "api")
    }
    parts: dict[str, UI] = {address: Dashboard7(kong=False) for address in names.values()}
    asked = {"/settings": names["web"], "/api/v1/me": names["auth"], "/api/v1/pod/shop": names["api"]}
    await walk("standalone", parts, tmp_path, asked)


def at(text: str, places: dict[str, str]) -> str:
    """A text with addresses replaced, each of which must be there."""
    for known, mapped_to in places.items():
        assert known in text, known
        text = text.replace(known, mapped_to)
    return text


async def test_the_central_configuration(tmp_path: Path, built_by: Any) -> None:
    """The other cluster's nginx asks the gate, which keeps its sessions in a real Redis: one login, one token."""
    said = mapped(configuration("central"), tmp_path)
    with redis_of(tmp_path) as redis:
        store = at(
            said["session"]["store"],
            {
                "redis.oidcgate.svc:6379": f"127.0.0.1:{redis.port}",
                "/run/secrets/oidcgate/redis-password": str(tmp_path / "secret" / "password"),
            },
        )
        (tmp_path / "secret" / "password").chmod(0o600)
        session = {"store": store, "keys_file": said["session"]["keys_file"]}
        peers = {"peers": ["127.0.0.1"], "headers": said["forward_auth"]["headers"]}
        config = {"provider": said["provider"], "session": session, "forward_auth": peers}
        async with AskedStack(shared=True, site={"upstream": {"ui": "headlamp"}}, config=config) as stack:
            assert stack.ui is not None
            objects = await asyncio.to_thread(built_by, "central/other-cluster")
            ingress = as_stream([named(objects, "Ingress")])
            question, login = "https://auth.k8s.example.com/oauth2/auth", "https://auth.k8s.example.com/oauth2/start"
            places = {
                question: f"http://127.0.0.1:{stack.port}/oauth2/auth",
                login: f"{stack.url}/oauth2/start",
                "one.k8s.example.com": "ui.k8s.localhost",
            }
            block = http_block(
                documents(at(ingress, places)),
                {"headlamp": f"127.0.0.1:{stack.ui.port}"},
                f"127.0.0.1:{stack.peer_port}",
            )
            modules = tuple(f"{MODULE_FOLDER}/{name}" for name in MODULES)
            async with nginx.running(block, port=stack.peer_port, modules=modules):
                page = await Browser().sign_in(f"{stack.site}/", "alice")
            assert page.status == 200, page.text[:300]
            with client_of(redis) as client:
                assert client.dbsize()
            (bearer,) = stack.ui.arrivals[-1].values("Authorization")
            claims = jwt.decode(bearer.removeprefix("Bearer "), options={"verify_signature": False})
            assert claims["email"] == "alice@example.com"


# The page


@pytest.mark.asyncio(loop_scope="session")
async def test_commands_of_the_page(lab: Lab, tmp_path: Path) -> None:
    """Typed one after the other, with a real kubectl and API server; the doctor's needs a pod that runs."""
    commands = [each for each in shell_commands("docs/kubernetes.md") if " exec " not in each]
    shutil.copytree(FOLDER, tmp_path / "deploy" / "kubernetes")
    (tmp_path / "kubectl").symlink_to(lab.cluster.binaries.kubectl)
    path = f"{Path(sys.executable).parent}:{tmp_path}:{os.environ['PATH']}"
    environment = {"HOME": str(tmp_path), "PATH": path, "KUBECONFIG": str(lab.cluster.kubeconfig(ADMIN))}
    script = "\n".join(["set -euxo pipefail", *commands])
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for said in (
        "deployment.apps/oidcgate",
        "deployment.apps/dex",
        "deployment.apps/headlamp",
        "ingress.networking.k8s.io/",
    ):
        assert said in done.stdout
    there = await lab.cluster.kubectl("get", "deployments,ingresses", "-A", "-o", "name")
    assert "deployment.apps/headlamp" in there.stdout
