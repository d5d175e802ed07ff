"""Kubernetes manifests and the like."""

import yaml

from oidcgate.imports.reading_manifest import MOST_NESTED, read_manifest

POD = """
spec:
  containers:
    - image: quay.io/oauth2-proxy/oauth2-proxy:v7.15.4
      args: ["--provider=oidc", "--upstream=http://ui"]
      env:
        - {name: OAUTH2_PROXY_CLIENT_ID, value: gate}
        - {name: OAUTH2_PROXY_CLIENT_SECRET, valueFrom: {secretKeyRef: {name: a, key: b}}}
    - image: kubernetesui/dashboard
      args: ["--namespace=x"]
"""


def test_pod() -> None:
    """Only oauth2-proxy's container counts; what a Secret holds is known by name."""
    found = read_manifest(yaml.safe_load(POD))
    assert found.tokens == ["--provider=oidc", "--upstream=http://ui"]
    assert (found.variables, found.hidden) == ({"OAUTH2_PROXY_CLIENT_ID": "gate"}, {"OAUTH2_PROXY_CLIENT_SECRET"})


def test_compose() -> None:
    """Compose has its environment as a mapping or as a list."""
    text = (
        "services: {a: {environment: {OAUTH2_PROXY_REVERSE_PROXY: true}}, b: {environment: [OAUTH2_PROXY_SCOPE=a b]}}"
    )
    found = read_manifest(yaml.safe_load(text))
    assert found.variables == {"OAUTH2_PROXY_REVERSE_PROXY": "true", "OAUTH2_PROXY_SCOPE": "a b"}


def test_config_map_and_secret() -> None:
    """A ConfigMap's files are read as files; a Secret is left alone."""
    text = "{kind: ConfigMap, data: {oauth2.cfg: 'provider = \"oidc\"', OAUTH2_PROXY_SCOPE: x, readme: y}}"
    found = read_manifest(yaml.safe_load(text))
    assert (found.files, found.variables) == ({"oauth2.cfg": 'provider = "oidc"'}, {"OAUTH2_PROXY_SCOPE": "x"})
    assert read_manifest({"kind": "Secret", "stringData": {"OAUTH2_PROXY_CLIENT_SECRET": "hush"}}).variables == {}


def test_depth() -> None:
    """A document that nests without end is left where nothing of use can be."""
    node: object = ["--a"]
    for _ in range(MOST_NESTED + 1):
        node = [node]
    assert read_manifest(node).tokens == []
