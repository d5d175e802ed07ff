"""What the tests of manifests rest on finds what is wrong: else they would be green for anything."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import Document, check, documents, gate_configs, named_files, unmounted, validate

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
PATCHED = (7, 2, 11)  # before it, whoever has the password can run code (CVE-2025-49844), and strangers exhaust memory
CONFIG = """
provider: {issuer: https://dex.example.com, client_id: gate, client_secret_file: /run/secrets/oidcgate/client-secret}
session:
  keys_file: /run/secrets/oidcgate/keys
  store: rediss://redis/0?password_file=/run/secrets/oidcgate/redis&ca_file=/etc/oidcgate/redis-ca.pem
  state_dir: /var/lib/oidcgate
tls: {cert_file: /etc/oidcgate/tls.crt, key_file: /etc/oidcgate/tls.key}
sites:
  - url: https://ui.example.com
    upstream: {url: "https://ui", ca_file: /etc/oidcgate/ui-ca.pem}
"""


def made(kind: str, version: str, **more: Any) -> Document:
    """An object."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "one"}, **more}


RULES = {"rules": [{"backendRefs": [{"name": "gate", "port": 80}]}]}
INVALID: list[tuple[Document, str]] = [
    (made("ConfigMap", "v1", dat={}), "'dat' was unexpected"),
    (made("Service", "v1", spec={"ports": [{"port": 80, "prot": 80}]}), "'prot' was unexpected"),
    (made("Service", "v1", spec={"ports": "80"}), "is not of type"),
    (made("Service", "v2"), "Couldn't find schema for kind Service"),
    (made("Unheard", "v1"), "Couldn't find schema for kind Unheard"),
    (made("HTTPRoute", "gateway.networking.k8s.io/v1", spec={"hostname": []}), "'hostname' was unexpected"),
    (made("HTTPRoute", "gateway.networking.k8s.io/v1", spec={"hostnames": ["a_b"]}), "does not match"),
    (made("ServiceMonitor", "monitoring.coreos.com/v1", spec={"endpoints": []}), "'selector' is a required property"),
]


@pytest.mark.parametrize(("document", "wrong"), INVALID, ids=[wrong for _, wrong in INVALID])
def test_invalid_documents(document: Document, wrong: str) -> None:
    """Unknown fields, wrong types and unknown kinds, of Kubernetes and of custom resources."""
    with pytest.raises(AssertionError) as raised:
        validate([made("HTTPRoute", "gateway.networking.k8s.io/v1", spec=RULES), document])
    assert wrong in str(raised.value)


def test_reading() -> None:
    """Empty documents go, lists unfold, and a key that is written twice is no YAML of ours."""
    text = "---\n# nothing\n---\nkind: List\nitems: [{kind: A}, {kind: B}]\n---\nkind: C\n"
    assert [each["kind"] for each in documents(text)] == ["A", "B", "C"]
    with pytest.raises(yaml.YAMLError, match="written twice"):
        documents("kind: A\nspec: {x: 1, x: 2}")


def test_configurations() -> None:
    """They are in ConfigMaps, below one key."""
    assert gate_configs([made("ConfigMap", "v1", data={"config.yaml": "a"}), made("ConfigMap", "v1")]) == {"one": "a"}


def test_check(tmp_path: Path) -> None:
    """Whatever files a configuration names are there, and what is wrong with it is quoted."""
    assert "good; 1 site" in check(CONFIG, tmp_path)
    with pytest.raises(AssertionError, match=r"sites\[0\].upstream.uii"):
        check(CONFIG.replace("ca_file: /etc/oidcgate/ui", "uii: x, ca_file: /etc/oidcgate/ui"), tmp_path)
    with pytest.raises(AssertionError, match="written twice"):
        check(CONFIG + "tls: null\n", tmp_path)
    with pytest.raises(AssertionError, match="ca_file needs TLS"):
        check(CONFIG.replace("rediss://redis/0", "redis://redis/0"), tmp_path)


def test_environment(tmp_path: Path) -> None:
    """A secret's variable is set, too."""
    text = CONFIG.replace("client_secret_file: /run/secrets/oidcgate/client-secret", "client_secret_env: THE_SECRET")
    assert "good" in check(text, tmp_path)


def test_what_is_not_mounted() -> None:
    """A file is in the pod when a volume is there that holds it, as far as the documents say."""
    sources: list[Document] = [
        {"secret": {"name": "gate", "items": [{"key": "client-secret", "path": "client-secret"}]}}
    ]
    volumes: list[Document] = [
        {"name": "secrets", "projected": {"sources": sources}},
        {"name": "config", "configMap": {"name": "one"}},
        {"name": "state", "emptyDir": {}},
    ]
    mounts = [
        {"name": "secrets", "mountPath": "/run/secrets/oidcgate"},
        {"name": "config", "mountPath": "/etc/oidcgate"},
        {"name": "state", "mountPath": "/var/lib/oidcgate"},
    ]
    pod: Document = {"containers": [{"name": "oidcgate", "volumeMounts": mounts}], "volumes": volumes}
    config = made("ConfigMap", "v1", data={"tls.crt": "", "tls.key": "", "ui-ca.pem": ""})
    missing = ["/run/secrets/oidcgate/keys", "/run/secrets/oidcgate/redis", "/etc/oidcgate/redis-ca.pem"]
    assert unmounted(CONFIG, pod, [config]) == missing
    elsewhere = {"secret": {"name": "made-by-somebody-else"}}
    sources.append(elsewhere)
    assert unmounted(CONFIG, pod, [config]) == missing[2:]
    mounts.pop()
    assert "/var/lib/oidcgate" in unmounted(CONFIG, pod, [config])
    assert len(named_files(CONFIG)) == 8


@pytest.mark.parametrize("file", ["helm/oidcgate/values.yaml", "kubernetes/central/redis.yaml"])
def test_redis_is_no_old_one(file: str) -> None:
    """What keeps everybody's sessions has the fixes that there are."""
    (found,) = re.findall(r"library/redis:(\d+)\.(\d+)\.(\d+)-", (ROOT / "deploy" / file).read_text())
    assert tuple(map(int, found)) >= PATCHED
