"""The Helm chart: what it makes is valid, safe and good for the gate, and what would not work it refuses in words."""

import asyncio
import base64
import copy
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from oidcgate import __version__
from oidcgate.session.seal import decode_key
from oidcgate.web import crew, master
from oidcgate.web.sessions import OUTAGE_WINDOW
from tests.deploy import chart_schema, manifests
from tests.deploy.cluster import dry_run
from tests.deploy.helm import CHART, VALUES, files, helm, refusal, said, template
from tests.deploy.manifests import Document, gate_configs, named
from tests.docs.pages import shell_commands, yaml_blocks
from tests.lab.helm.program import built
from tests.lab.kube.control_plane import ADMIN
from tests.lab.kube.lab import Lab
from tests.lab.kube.programs import BUILD_LIMIT
from tests.support.processes import executable, program

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(BUILD_LIMIT),  # the first of them builds the programs
]
MINIMAL, PRODUCTION, CENTRAL, INGRESS = (
    CHART / "ci" / f"{name}.yaml" for name in ("minimal", "production", "central", "ingress")
)
REPOSITORY = CHART.parents[2]
EVERY = pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)


def spec_of(rendered: list[Document], name: str = "gate-oidcgate") -> dict[str, Any]:
    """A Deployment's ``spec``."""
    spec: dict[str, Any] = named(rendered, "Deployment", name)["spec"]
    return spec


def pod_of(rendered: list[Document], name: str = "gate-oidcgate") -> dict[str, Any]:
    """A Deployment's pod."""
    pod: dict[str, Any] = spec_of(rendered, name)["template"]["spec"]
    return pod


def config_of(rendered: list[Document]) -> dict[str, Any]:
    """The gate's configuration."""
    config: dict[str, Any] = yaml.safe_load(gate_configs(rendered)["gate-oidcgate"])
    return config


def kinds(rendered: list[Document]) -> set[str]:
    """Kind and name of each, without the release's own name."""
    return {f"{each['kind']}{each['metadata']['name'].removeprefix('gate-oidcgate')}" for each in rendered}


def notes(*values: Path, **more: Any) -> str:
    """What is said after an installation."""
    done = helm(
        *("install", "gate", str(CHART), "--namespace", "access", "--dry-run=client", *files(*values)),
        *("--values", "-"),
        stdin=json.dumps(more),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:\n")[2]


# The chart itself


def test_versions_are_the_gate_s() -> None:
    """The chart's version and the image's tag move with the package."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    container = pod_of(template(MINIMAL))["containers"][0]
    assert container["image"] == f"ghcr.io/oidcgate/oidcgate:{__version__}"
    assert 'ENTRYPOINT ["oidcgate"]' in (REPOSITORY / "deploy" / "Dockerfile").read_text()
    assert "command" not in container


@EVERY
def test_lint(values: Path) -> None:
    """Helm finds nothing to warn of."""
    done = helm("lint", "--strict", str(CHART), *files(values))
    assert (done.returncode, said(done)) == (0, []), done.stdout + done.stderr


def test_package_is_whole(tmp_path: Path) -> None:
    """What is packaged renders the same as what is in the repository, the linked alert rules included."""
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    archive = tmp_path / f"oidcgate-{__version__}.tgz"
    rendered = helm("template", "gate", str(archive), "--namespace", "access", *files(PRODUCTION))
    assert manifests.documents(rendered.stdout) == template(PRODUCTION)
    assert said(rendered) == rendered.stderr.splitlines() == []


def uncommented(node: yaml.MappingNode, lines: list[str]) -> list[str]:
    """Keys without a comment on their line, but for those inside of one whose comment speaks for all of them."""
    found = []
    for key, value in node.value:
        is_section = isinstance(value, yaml.MappingNode) and not value.flow_style
        line = lines[key.start_mark.line]
        above = lines[key.start_mark.line - 1].startswith("#")
        if "  # " not in line and not above:
            found.append(line)
        elif is_section and key.value not in ("resources", "podSecurityContext"):
            found += uncommented(value, lines)
    return found


def test_every_value_has_a_comment() -> None:
    """As in the gate's own example, each key says why one would change it, on its line."""
    text = (CHART / "values.yaml").read_text()
    node = yaml.compose(text)
    assert isinstance(node, yaml.MappingNode)
    assert uncommented(node, text.splitlines()) == []


def test_schema_knows_every_value() -> None:
    """The keys of values.yaml are those of its schema, section by section, and nothing else is taken."""
    schema = json.loads(chart_schema.FILE.read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}
    for key, section in schema["properties"].items():
        if "properties" in section:
            assert section["additionalProperties"] is False, key
            assert set(section["properties"]) == set(values[key]) or key == "resources", key
    assert schema["additionalProperties"] is False


def test_schema_of_config_is_the_gate_s() -> None:
    """A new key of the gate is taken by the chart: `python -m tests.deploy.chart_schema` writes it."""
    text = chart_schema.FILE.read_text()
    assert text == chart_schema.wanted(text), "run: python -m tests.deploy.chart_schema"


# What it makes


@EVERY
def test_documents_are_valid(values: Path) -> None:
    """Kubernetes' own schemas, Gateway API's and the Prometheus operator's take every field."""
    rendered = template(values)
    manifests.validate(rendered)
    assert all(each["metadata"]["labels"]["app.kubernetes.io/instance"] == "gate" for each in rendered)


@EVERY
def test_gate_takes_its_configuration(values: Path, tmp_path: Path) -> None:
    """`oidcgate check` is content, and every file that the configuration names is in the pod."""
    rendered = template(values)
    text = gate_configs(rendered)["gate-oidcgate"]
    assert "good" in manifests.check(text, tmp_path)
    assert manifests.unmounted(text, pod_of(rendered), rendered) == []


async def test_gate_starts_with_its_configuration(tmp_path: Path) -> None:
    """The real gate, without a container: it answers the probes where they ask, and ends well."""
    rendered = template(MINIMAL)
    container = pod_of(rendered)["containers"][0]
    text = re.sub(r"0\.0\.0\.0:808[01]", "127.0.0.1:0", gate_configs(rendered)["gate-oidcgate"])
    manifests.check(text, tmp_path)
    config = tmp_path / "etc" / "oidcgate" / "config.yaml"
    arguments = [argument.replace("/etc/oidcgate/config.yaml", str(config)) for argument in container["args"]]
    async with program(sys.executable, "-m", "oidcgate", *arguments, ready="admin on") as (process, line):
        found = re.search(r"admin on ([0-9.:]+)", line)
        assert found is not None
        async with aiohttp.ClientSession(f"http://{found[1]}") as client:
            async with client.get(container["livenessProbe"]["httpGet"]["path"]) as alive:
                assert alive.status == 200
            async with client.get(container["readinessProbe"]["httpGet"]["path"]) as ready:
                assert (ready.status, "store: ok" in await ready.text()) == (503, True)  # there is no issuer
    assert process.returncode == 0
    made = {file.name for file in (tmp_path / "var" / "lib" / "oidcgate").iterdir()}
    assert {"sessions.db", "keys"} <= made


EXPECTED = {
    "minimal": {"ServiceAccount", "ConfigMap", "Service", "Deployment", "NetworkPolicy", "PersistentVolumeClaim"},
    "ingress": {
        *("ServiceAccount", "ConfigMap", "Service", "Deployment", "NetworkPolicy", "PersistentVolumeClaim"),
        *("Secret", "Ingress"),
    },
    "production": {
        *("ServiceAccount", "ConfigMap", "Service", "Service-admin", "Deployment", "HTTPRoute", "NetworkPolicy"),
        *("HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor", "PrometheusRule"),
    },
    "central": {
        *("ServiceAccount", "ConfigMap", "Service", "Deployment", "Secret-made", "Ingress", "NetworkPolicy"),
        *("PodDisruptionBudget", "ConfigMap-redis", "Service-redis", "Deployment-redis", "NetworkPolicy-redis"),
        "PersistentVolumeClaim-redis",
    },
}


@EVERY
def test_objects(values: Path) -> None:
    """What is asked for is there, and nothing else."""
    assert kinds(template(values)) == EXPECTED[values.stem]


@pytest.mark.parametrize(
    ("values", "name"), [(f, "gate-oidcgate") for f in VALUES] + [(CENTRAL, "gate-oidcgate-redis")]
)
def test_pods_may_do_little(values: Path, name: str) -> None:
    """Nobody's root, nothing writable but volumes, no capability, no token of the cluster."""
    pod = pod_of(template(values), name)
    assert pod["automountServiceAccountToken"] is False
    identity = pod["securityContext"]
    assert (identity["runAsNonRoot"], identity["runAsUser"], identity["fsGroup"]) == (True, 65532, 65532)
    assert identity["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
    modes = [volume["projected"]["defaultMode"] for volume in pod["volumes"] if volume["name"] == "secrets"]
    assert modes in ([0o440], []), "the gate refuses a secret that everybody may read"


def test_probes_ask_the_admin_listener_of_the_pod() -> None:
    """Which the configuration opens on the pod's address, and which the browsers' Service does not show."""
    rendered = template(MINIMAL)
    container = pod_of(rendered)["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config_of(rendered)["admin"]["listen"] == f"0.0.0.0:{ports['admin']}"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: (probe["path"], probe["port"]) for name, probe in probes.items()} == {
        "startupProbe": ("/livez", "admin"),
        "livenessProbe": ("/livez", "admin"),
        "readinessProbe": ("/readyz", "admin"),
    }
    assert [port["targetPort"] for port in named(rendered, "Service")["spec"]["ports"]] == ["http"]


def test_an_outage_of_the_store_takes_no_pod_away_too_early() -> None:
    """All pods lose Redis at once: they stay in service for as long as they serve people who are signed in."""
    probe = pod_of(template(PRODUCTION))["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= OUTAGE_WINDOW


def test_the_master_replaces_a_stuck_worker_before_the_kubelet_ends_all() -> None:
    """/livez tells of it some time before the master acts; the kubelet waits longer than that."""
    probe = pod_of(template(MINIMAL))["containers"][0]["livenessProbe"]
    told = master.STUCK + 2 * master.PING - crew.SILENT  # seconds at most, for which /livez says so
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) > told


def test_ports_follow_the_configuration() -> None:
    """Other listeners move the pod's ports with them; TLS by the gate renames the Service's."""
    tls = {"cert_file": "/run/secrets/oidcgate/tls.crt", "key_file": "/run/secrets/oidcgate/tls.key"}
    changed = {"listen": "[::]:9443", "admin": {"listen": ":9091"}, "tls": tls}
    rendered = template(MINIMAL, config=changed, service={"port": 443})
    ports = {port["name"]: port["containerPort"] for port in pod_of(rendered)["containers"][0]["ports"]}
    assert ports == {"https": 9443, "admin": 9091}
    port = named(rendered, "Service")["spec"]["ports"][0]
    assert (port["name"], port["port"], port["targetPort"]) == ("https", 443, "https")


def test_the_end_of_a_pod_fits_the_gate_s_drain() -> None:
    """The kubelet kills only after the longest time that the gate takes to end."""
    pod = pod_of(template(MINIMAL))
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + master.NOTICE + master.DRAIN + master.LAST_WAIT


def test_sqlite_has_one_writer() -> None:
    """One replica on a claim, which the next one waits for."""
    rendered = template(MINIMAL)
    spec = spec_of(rendered)
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    state = next(volume for volume in spec["template"]["spec"]["volumes"] if volume["name"] == "state")
    assert state["persistentVolumeClaim"]["claimName"] == named(rendered, "PersistentVolumeClaim")["metadata"]["name"]
    forgetful = template(MINIMAL, persistence={"enabled": False})
    assert "PersistentVolumeClaim" not in kinds(forgetful)
    theirs = template(MINIMAL, persistence={"existingClaim": "mine"})
    volumes = [volume.get("persistentVolumeClaim") for volume in pod_of(theirs)["volumes"]]
    assert {"claimName": "mine"} in volumes


def test_replicas_overlap_and_spread() -> None:
    """With Redis the next pod is ready before the last one goes, and the autoscaler alone counts them."""
    spec = spec_of(template(PRODUCTION))
    assert "replicas" not in spec
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(each["labelSelector"] == spec["selector"] for each in spread)


def test_a_change_of_configuration_rolls_out() -> None:
    """The pod's annotation follows the configuration and the files beside it, and nothing else."""

    def checksum(**more: Any) -> str:
        annotations = spec_of(template(MINIMAL, **more))["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert checksum() == checksum(service={"port": 81})
    assert len({checksum(), checksum(config={"log": {"level": "debug"}}), checksum(files={"ca.pem": "x"})}) == 3


@pytest.mark.parametrize("values", [MINIMAL, INGRESS, PRODUCTION], ids=["minimal", "ingress", "production"])
def test_rendered_again_it_is_the_same(values: Path) -> None:
    """Where nothing is made by the chart, a GitOps tool that renders it each minute finds no change."""
    twice = [helm("template", "gate", str(CHART), *files(values)).stdout for _ in range(2)]
    assert twice[0] == twice[1] != ""


def test_configuration_is_passed_on() -> None:
    """What the values say is the gate's, over what the chart knows; large numbers stay whole."""
    given = yaml.safe_load(PRODUCTION.read_text())["config"]
    made = config_of(template(PRODUCTION))
    assert {key: made[key] for key in ("workers", "sites", "limits", "trusted_proxies")} == {
        key: given[key] for key in ("workers", "sites", "limits", "trusted_proxies")
    }
    own = config_of(template(MINIMAL, config={"session": {"state_dir": "/elsewhere", "idle": "5m"}}))
    assert own["session"] == {"state_dir": "/elsewhere", "idle": "5m"}


def test_secrets_by_value() -> None:
    """They come into a Secret, in no other object, and the gate finds them by file."""
    rendered = template(INGRESS)
    data = {key: base64.b64decode(text).decode() for key, text in named(rendered, "Secret")["data"].items()}
    given = yaml.safe_load(INGRESS.read_text())
    assert data == {"client-secret": given["clientSecret"]["value"], "keys": given["sessionKeys"]["value"]}
    others = json.dumps([each for each in rendered if each["kind"] != "Secret"])
    assert all(secret not in others for secret in data.values())
    assert config_of(rendered)["provider"]["client_secret_file"] == "/run/secrets/oidcgate/client-secret"


def test_secrets_that_are_made() -> None:
    """A usable key and a long password; both stay when the release goes."""
    secret = named(template(MINIMAL, redis={"deploy": True}), "Secret")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert len(decode_key(base64.b64decode(secret["data"]["keys"]).decode())) == 32
    assert len(base64.b64decode(secret["data"]["redis-password"])) == 40


def test_redis_of_one_s_own() -> None:
    """Its password stays out of its address, which may have options of its own."""
    url = "rediss+sentinel://one,two/gate?ca_file=/etc/oidcgate/redis-ca.pem"
    redis = {"url": url, "password": {"existingSecret": "mine"}}
    made = config_of(template(MINIMAL, redis=redis, sessionKeys={"existingSecret": "keys"}))
    assert made["session"]["store"] == f"{url}&password_file=/run/secrets/oidcgate/redis-password"
    bare = config_of(template(MINIMAL, redis={"url": "redis://r"}, sessionKeys={"existingSecret": "keys"}))
    assert bare["session"]["store"] == "redis://r"


def test_hosts_are_the_sites() -> None:
    """Unless told otherwise, and a route takes no more than sixteen, so that there are several."""
    sites = [{"url": f"https://c{number}.example.com:443/", "upstream": {"url": "https://ui"}} for number in range(20)]
    route = {"enabled": True, "parentRefs": [{"name": "public"}]}
    rendered = template(config={**minimal_config(), "sites": sites}, httpRoute=route, ingress={"enabled": True})
    manifests.validate(rendered)
    routes = [each for each in rendered if each["kind"] == "HTTPRoute"]
    assert [each["metadata"]["name"] for each in routes] == ["gate-oidcgate", "gate-oidcgate-2"]
    hosts = [host for each in routes for host in each["spec"]["hostnames"]]
    assert hosts == [rule["host"] for rule in named(rendered, "Ingress")["spec"]["rules"]]
    assert hosts == [f"c{number}.example.com" for number in range(20)]


@pytest.mark.parametrize("host", ["dashboard.example.com", "*.example.com"])
def test_certificates_of_the_sites(host: str) -> None:
    """One for a site's own name, or for all names beside it."""
    tls = [{"secretName": "tls", "hosts": [host]}]
    assert named(template(MINIMAL, ingress={"enabled": True, "tls": tls}), "Ingress")["spec"]["tls"] == tls


def test_selectors_find_the_gate_alone() -> None:
    """Services, budgets, policies and monitors choose by labels that its pods have and those of its Redis have not."""
    rendered = template(CENTRAL) + template(PRODUCTION)
    gate, redis = (
        spec_of(template(CENTRAL), f"gate-oidcgate{suffix}")["template"]["metadata"]["labels"]
        for suffix in ("", "-redis")
    )
    for each in rendered:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        labels = selector.get("matchLabels", selector)
        if each["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"):
            is_redis = each["metadata"]["name"].endswith("-redis")
            chosen, others = (redis, gate) if is_redis else (gate, redis)
            assert labels.items() <= chosen.items()
            assert not labels.items() <= others.items()
    monitor = named(template(PRODUCTION), "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [each["metadata"] for each in template(PRODUCTION) if each["kind"] == "Service"]
    assert [s["name"] for s in services if monitor.items() <= s["labels"].items()] == ["gate-oidcgate-admin"]


def test_network_policy() -> None:
    """Only the named peers reach the two ports, and with egress only what is named is reached."""
    spec = named(template(PRODUCTION), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    peers = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    given = yaml.safe_load(PRODUCTION.read_text())["networkPolicy"]
    assert peers == {"http": given["from"], "admin": given["adminFrom"]}
    assert spec["egress"][1:] == given["egress"]["to"]
    closed = named(template(MINIMAL), "NetworkPolicy")["spec"]  # also where nothing is said of it
    assert [rule["ports"][0]["port"] for rule in closed["ingress"]] == ["http"]


def test_alert_rules_are_the_repository_s() -> None:
    """Rule for rule, templates of Prometheus included."""
    rules = yaml.safe_load((REPOSITORY / "deploy" / "monitoring" / "alerts.yaml").read_text())
    assert named(template(PRODUCTION), "PrometheusRule")["spec"] == rules


def test_small_things() -> None:
    """A digest in place of the tag, a name of one's own, more volumes and variables, a route without timeouts."""
    route = {"enabled": True, "parentRefs": [{"name": "public"}], "timeouts": None}
    assert "timeouts" not in named(template(MINIMAL, httpRoute=route), "HTTPRoute")["spec"]["rules"][0]
    digest = "sha256:" + "0" * 64
    rendered = template(
        MINIMAL,
        fullnameOverride="door",
        image={"digest": digest, "repository": "mirror.example.com/oidcgate"},
        extraEnv=[{"name": "NO_PROXY", "value": ".svc"}],
        extraVolumes=[{"name": "more", "emptyDir": {}}],
        extraVolumeMounts=[{"name": "more", "mountPath": "/more"}],
        serviceAccount={"create": False},
        podLabels={"team": "access"},
        nodeSelector={"kubernetes.io/arch": "arm64"},
        tolerations=[{"operator": "Exists"}],
        affinity={"nodeAffinity": {}},
        priorityClassName="system-cluster-critical",
        imagePullSecrets=[{"name": "mirror"}],
    )
    manifests.validate(rendered)
    pod = pod_of(rendered, "door")
    container = pod["containers"][0]
    assert container["image"] == f"mirror.example.com/oidcgate@{digest}"
    assert container["env"] == [{"name": "NO_PROXY", "value": ".svc"}]
    assert container["volumeMounts"][-1] == {"name": "more", "mountPath": "/more"}
    assert pod["serviceAccountName"] == "default"
    assert {each["metadata"]["name"] for each in rendered} == {"door"}


# What it refuses


def minimal_config(**changed: Any) -> dict[str, Any]:
    """The configuration of the minimal values, with some keys changed."""
    config: dict[str, Any] = yaml.safe_load(MINIMAL.read_text())["config"]
    return {**copy.deepcopy(config), **changed}


KEYS = {"existingSecret": "keys"}
OURS = {"url": "redis://redis.example.com"}
HOSTS = {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["other.example.com"]}
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"config": {}}, "config.provider.issuer is missing: write the issuer exactly as in Dex's own configuration"),
    ({"config": {"provider": {"issuer": "https://dex"}}}, "config.provider.client_id is missing: write the id of"),
    ({"config": minimal_config(sites=[])}, "config.sites is empty: write what browsers open and the UI behind it"),
    ({"config": minimal_config(sites=[{"badge": True}])}, "config.sites[0].url is missing: write the address that"),
    ({"serviceMonitor": {"enabled": True}}, "name it in networkPolicy.adminFrom"),
    ({"replicas": 2}, "replicas above 1 needs sessions that the replicas share: set redis.url to a Redis of yours"),
    ({"autoscaling": {"enabled": True}}, "autoscaling.enabled needs sessions that the replicas share: set redis.url"),
    ({"replicas": 2, "sessionKeys": KEYS}, "replicas above 1 needs sessions that the replicas share"),
    ({"replicas": 2, "redis": OURS}, "needs session keys that every replica has: put a line from `oidcgate secret`"),
    (
        {"autoscaling": {"enabled": True}, "redis": {"deploy": True}},
        "autoscaling.enabled needs session keys that every",
    ),
    (
        {"autoscaling": {"enabled": True, "minReplicas": 9}, "redis": OURS, "sessionKeys": KEYS},
        "autoscaling.minReplicas is above autoscaling.maxReplicas: raise one or lower the other",
    ),
    ({"redis": {**OURS, "deploy": True}}, "redis.deploy and redis.url are both set: keep the one that you mean"),
    (
        {"redis": OURS, "config": minimal_config(session={"store": "memory"})},
        "config.session.store and redis.url or redis.deploy are both set: keep the one that you mean",
    ),
    (
        {"redis": {"url": "rediss://gate:pass@redis:6379"}},
        "the URL of Redis holds a password, and would be in a ConfigMap",
    ),
    (
        {"config": minimal_config(session={"store": "redis://:pass@redis"})},
        "put the password into a Secret, and name that in redis.password.existingSecret",
    ),
    (
        {"ingress": {"enabled": True, "hosts": ["other.example.com"]}},
        "ingress.hosts: other.example.com is no site of the gate (dashboard.example.com): add it to config.sites",
    ),
    (
        {"ingress": {"enabled": True, "tls": [{"secretName": "tls", "hosts": ["dashbord.example.com"]}]}},
        "ingress.tls: dashbord.example.com is no site of the gate (dashboard.example.com): correct it, or take it out",
    ),
    (
        {"config": minimal_config(listen=[":9000"], admin={"listen": ":9000"})},
        "config.listen and config.admin.listen are both on port 9000: give one of them another",
    ),
    ({"httpRoute": HOSTS}, "httpRoute.hostnames: other.example.com is no site of the gate (dashboard.example.com)"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty: name the gateway that carries the sites"),
    (
        {"config": minimal_config(listen=["127.0.0.1:8080"])},
        "config.listen must be on the pod's address, or no Service",
    ),
    ({"config": minimal_config(listen=["unix:/run/gate.sock"])}, "config.listen must be on the pod's address"),
    (
        {"config": minimal_config(admin={"listen": "127.0.0.1:8081"})},
        "config.admin.listen must be on every address of the pod, or the kubelet's probes do not reach it",
    ),
    ({"config": minimal_config(admin=None)}, "config.admin.listen must be on every address of the pod"),
    (
        {"terminationGracePeriodSeconds": 30},
        "terminationGracePeriodSeconds is too short for the gate's drain: write 41 or more, or lower preStopSeconds",
    ),
]


@pytest.mark.parametrize(("changed", "sentence"), REFUSALS, ids=[sentence[:48] for _, sentence in REFUSALS])
def test_refuses_what_would_not_work(changed: dict[str, Any], sentence: str) -> None:
    """With a sentence that says what to change."""
    assert sentence in refusal(**{"config": minimal_config(), **changed})


@pytest.mark.parametrize("key", ["client_id", "issuer"])
def test_an_empty_answer_is_missing(key: str) -> None:
    """Also where the key is written, but says nothing."""
    provider = {**minimal_config()["provider"], key: ""}
    assert f"{key}" in refusal(config=minimal_config(provider=provider))


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"replica": 2}, "additional properties 'replica' not allowed"),
    ({"redis": {"adress": "x"}}, "at '/redis': additional properties 'adress' not allowed"),
    ({"config": minimal_config(sesion={})}, "at '/config': additional properties 'sesion' not allowed"),
    (
        {"config": minimal_config(session={"idle": "1hour"})},
        "at '/config/session/idle': '1hour' does not match pattern",
    ),
    ({"config": None}, "missing property 'config'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy'"),
    ({"redis": {"url": "http://redis"}}, "at '/redis/url'"),
    ({"service": {"port": 70000}}, "at '/service/port': maximum"),
    ({"ingress": {"hosts": ["https://dashboard.example.com"]}}, "at '/ingress/hosts/0'"),
    ({"persistence": {"size": "plenty"}}, "at '/persistence/size'"),
    ({"files": {"config.yaml": "mine"}}, "invalid propertyName 'config.yaml'"),
]


@pytest.mark.parametrize(("changed", "sentence"), MISTAKES, ids=[sentence[:40] for _, sentence in MISTAKES])
def test_schema_refuses_mistakes(changed: dict[str, Any], sentence: str) -> None:
    """Those of spelling and of form, in the gate's own configuration too, with their place."""
    assert sentence in refusal(MINIMAL, **changed)


# What it says afterwards


def blocks(text: str) -> list[dict[str, Any]]:
    """The AuthenticationConfigurations in the notes."""
    found = re.findall(r"^     apiVersion:.*?(?=\n *\n)", text, re.S | re.M)
    return [yaml.safe_load(block) for block in found]


def test_notes_say_what_is_left_to_do() -> None:
    """The redirect URI, the API server's part by file and by flags, a first binding, and where to go."""
    text = notes(MINIMAL)
    assert "https://dashboard.example.com/oauth2/callback" in text
    prefixed = {
        name: {"claim": claim, "prefix": "oidc:"} for name, claim in (("username", "email"), ("groups", "groups"))
    }
    issuer = {"url": "https://dex.example.com", "audiences": ["oidcgate"]}
    assert [block["jwt"] for block in blocks(text)] == [[{"issuer": issuer, "claimMappings": prefixed}]]
    assert "--oidc-issuer-url=https://dex.example.com --oidc-client-id=oidcgate" in text
    assert "kubectl create rolebinding viewers --clusterrole=view --group=oidc:my-team" in text
    assert "open https://dashboard.example.com" in text
    assert "Nothing leads there yet" in text
    assert "! " not in text


def test_notes_name_each_cluster_s_audience() -> None:
    """The login host needs none of its own; sites that are handed no token need none at all."""
    issuers = [block["jwt"][0]["issuer"] for block in blocks(notes(CENTRAL))]
    assert [issuer["audiences"] for issuer in issuers] == [["cluster-one"], ["cluster-two"], ["clusters"]]
    fenced = minimal_config()
    fenced["sites"][0]["identity"] = "none"
    assert blocks(notes(config=fenced)) == []
    with_kubectl = blocks(notes(INGRESS))[0]["jwt"][0]["issuer"]
    assert (with_kubectl["audiences"], with_kubectl["audienceMatchPolicy"]) == (["oidcgate", "kubectl"], "MatchAny")


WARNINGS: list[tuple[Path, dict[str, Any], str]] = [
    (MINIMAL, {"ingress": {"enabled": True}}, "config.trusted_proxies is empty"),
    (MINIMAL, {"service": {"type": "LoadBalancer"}}, "the gate speaks plain HTTP on it"),
    (MINIMAL, {"persistence": {"enabled": False}}, "everybody signs in again when the pod moves"),
    (MINIMAL, {"redis": {"deploy": True}}, "name sessionKeys.existingSecret"),
    (CENTRAL, {}, "The Redis of this release is one pod, to try with"),
]


@pytest.mark.parametrize(("values", "changed", "sentence"), WARNINGS, ids=[each[2][:40] for each in WARNINGS])
def test_notes_warn(values: Path, changed: dict[str, Any], sentence: str) -> None:
    """Of what works, but not well."""
    text = notes(values, **changed)
    assert sentence in text.partition("! ")[2]


# The chart's own Redis, as its container starts it


def test_redis_starts_with_its_password(tmp_path: Path) -> None:
    """The script and the probe with a real Redis: any password holds, whoever has none is refused, data is kept."""
    rendered = template(CENTRAL)
    container = pod_of(rendered, "gate-oidcgate-redis")["containers"][0]
    data = named(rendered, "ConfigMap", "gate-oidcgate-redis")["data"]
    root = {
        f"/{name}": str(tmp_path / name.replace("/", "-")) for name in ("etc/redis", "run/secrets/redis", "run/redis")
    }
    for folder in (*root.values(), str(tmp_path / "data")):
        Path(folder).mkdir()

    def moved(text: str) -> str:
        for path, folder in root.items():
            text = text.replace(f"{path}/", f"{folder}/")
        return text.replace("dir /data", f"dir {tmp_path}/data")

    socket = tmp_path / "redis.sock"
    folder = Path(root["/etc/redis"])
    (folder / "redis.conf").write_text(moved(data["redis.conf"]) + f"port 0\nunixsocket {socket}\n")
    (folder / "start.sh").write_text(moved(data["start.sh"]))
    Path(root["/run/secrets/redis"], "redis-password").write_text('a "quoted" \\ $(word) #1')
    probe = moved(container["readinessProbe"]["exec"]["command"][2])
    client = executable("redis-cli", "redis-server")
    probe = probe.replace("redis-cli", f"{client} -s {socket}")
    server = subprocess.Popen([container["command"][0], folder / "start.sh"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while subprocess.run(["sh", "-c", probe], check=False, capture_output=True).returncode:
            assert time.monotonic() < deadline
            assert server.poll() is None
        bare = subprocess.run([client, "-s", socket, "ping"], capture_output=True, text=True, check=False)
        assert "NOAUTH" in bare.stdout
        assert list((tmp_path / "data").rglob("*.aof"))
        assert (Path(root["/run/redis"]) / "redis.conf").stat().st_mode & 0o077 == 0
    finally:
        server.terminate()
        server.wait(20)


# A real API server


@pytest.mark.asyncio(loop_scope="session")
@EVERY
async def test_api_server_takes_them(lab: Lab, values: Path) -> None:
    """Every object of each set of values, by a dry run of the server's, which knows defaults and rules beyond schemas."""
    rendered = template(values)
    taken = await dry_run(lab, rendered)
    assert taken.count("(server dry run)") == len(rendered)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("values", "name"), [(PRODUCTION, "gate-oidcgate"), (CENTRAL, "gate-oidcgate-redis")])
async def test_pods_pass_the_restricted_profile(lab: Lab, values: Path, name: str) -> None:
    """A namespace that enforces it takes the gate's pod, and that of its Redis."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": restricted}}
    await lab.cluster.apply(json.dumps(space))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_of(template(values), name)}
    assert "(server dry run)" in await dry_run(lab, [pod], "restricted")
    pod["spec"] = {**pod["spec"], "securityContext": {}}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        await dry_run(lab, [pod], "restricted")


async def released(lab: Lab, *args: str, stdin: str = "") -> str:
    """What Helm says when it works with the cluster."""
    done = await asyncio.to_thread(helm, *args, stdin=stdin, kubeconfig=lab.cluster.kubeconfig(ADMIN))
    assert (done.returncode, said(done)) == (0, []), done.stderr
    return done.stdout


@pytest.mark.asyncio(loop_scope="session")
async def test_life_of_a_release(lab: Lab) -> None:
    """
    Install, upgrade, uninstall and install again: what was made once is found again each time, and nothing else stays.

    The cluster runs no pods; what is looked at are the objects.
    """
    where = ("gate", str(CHART), "--namespace", "life", *files(MINIMAL), "--set=redis.deploy=true")

    async def objects(kind: str) -> list[Any]:
        done = await lab.cluster.kubectl(
            "get", kind, "-n", "life", "-l", "app.kubernetes.io/instance=gate", "-o", "json"
        )
        items: list[Any] = json.loads(done.stdout)["items"]
        return items

    dry = await released(lab, "install", *where, "--create-namespace", "--dry-run=server")
    assert "NOTES:" in dry
    assert await objects("deployments") == []
    await released(lab, "install", *where, "--create-namespace")
    [made] = await objects("secrets")
    before = {each["metadata"]["name"]: each["spec"] for each in await objects("deployments")}
    assert set(before) == {"gate-oidcgate", "gate-oidcgate-redis"}

    await released(lab, "upgrade", *where, "--set=config.log.level=debug")
    assert [each["data"] for each in await objects("secrets")] == [made["data"]]
    after = {each["metadata"]["name"]: each["spec"] for each in await objects("deployments")}
    assert after["gate-oidcgate"]["template"] != before["gate-oidcgate"]["template"]
    assert after["gate-oidcgate-redis"] == before["gate-oidcgate-redis"]

    await released(lab, "uninstall", "gate", "--namespace", "life")
    assert [each["data"] for each in await objects("secrets")] == [made["data"]]
    assert await objects("deployments,services,configmaps,networkpolicies,serviceaccounts") == []

    await released(lab, "install", *where)
    assert [each["data"] for each in await objects("secrets")] == [made["data"]]
    await released(lab, "uninstall", "gate", "--namespace", "life")


PAGE = "docs/helm.md"


def test_values_of_the_page() -> None:
    """What the page shows is taken, first alone, then with all else that it shows."""
    shown = [document for _, found in yaml_blocks(PAGE) for document in found if "apiVersion" not in document]
    assert len(shown) == 3
    manifests.validate(template(**shown[0]))
    together: dict[str, Any] = {key: value for document in shown for key, value in document.items()}
    rendered = template(**together)
    manifests.validate(rendered)
    assert {"Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"} <= kinds(rendered)


@pytest.mark.asyncio(loop_scope="session")
async def test_commands_of_the_page(lab: Lab, tmp_path: Path) -> None:
    """Typed one after the other in a clone, each does what it should; an installation afterwards finds its claim."""
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    (tmp_path / "client-secret").write_text("of-dex\n")
    (tmp_path / "values.yaml").write_text(next(yaml_blocks(PAGE))[0].text)
    programs = [built().parent, lab.cluster.binaries.kubectl.parent, Path(sys.executable).parent]
    environment = {
        "HOME": str(tmp_path),
        "KUBECONFIG": str(lab.cluster.kubeconfig(ADMIN)),
        "PATH": ":".join(map(str, [*programs, os.environ["PATH"]])),
    }
    commands = shell_commands(PAGE)
    assert [command.split()[0] for command in commands].count("helm") == 3
    install = next(command for command in commands if command.startswith("helm install"))
    for command in (*commands, install):
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, said(done)) == (0, []), f"{command}: {done.stderr}"
        if command == install:
            deployed = await lab.cluster.kubectl("get", "deployment", "oidcgate", "-n", "oidcgate", "-o", "name")
            assert deployed.stdout == "deployment.apps/oidcgate\n"
