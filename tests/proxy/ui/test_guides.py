"""The guides to the UIs and to managed clusters: what they tell to write is a configuration, and says what they say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from oidcgate import __version__
from oidcgate.config.load import parse_config
from oidcgate.proxy.ui import PRESETS
from tests.lab.kube.control_plane import Trust, authentication

DOCS = Path(__file__).resolve().parents[3] / "docs"
GUIDES = {
    "ui-dashboard-2.md": "dashboard-2",
    "ui-dashboard-7.md": "dashboard-7",
    "ui-headlamp.md": "headlamp",
    "managed-clusters.md": "dashboard-7",
}


def blocks(text: str) -> list[Any]:
    """The YAML in a text."""
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [document for block in found for document in yaml.safe_load_all(block)]


def configurations(guide: str) -> list[Any]:
    """The gate's."""
    return [block for block in blocks((DOCS / guide).read_text()) if "provider" in block]


def readme() -> str:
    """What the README says."""
    return (DOCS.parent / "README.md").read_text()


@pytest.mark.parametrize("guide", list(GUIDES))
def test_configurations(guide: str, tmp_path: Path) -> None:
    """They are good as they stand, and are of the UI that the guide is about."""
    found = configurations(guide)
    assert found
    for document in found:
        config = parse_config(document, folder=tmp_path, files=False)
        assert [site.upstream.ui for site in config.sites] == [GUIDES[guide]]


@pytest.mark.parametrize("guide", [guide for guide, name in GUIDES.items() if guide.startswith("ui-")])
def test_what_a_guide_says_of_its_preset(guide: str) -> None:
    """The names that the gate goes by stand in the text."""
    preset, text = PRESETS[GUIDES[guide]], (DOCS / guide).read_text()
    for cookie in preset.token_cookies:
        assert cookie.removesuffix("*") in text, cookie
    for path in (*preset.tried_again, *preset.meanwhile):
        assert path.removeprefix("/api/v1/") in text or path in text, path
    if preset.unauthorized_type == "text/plain":
        assert f"`{preset.unauthorized.decode()}`" in text


@pytest.mark.parametrize("guide", list(GUIDES))
def test_one_sentence_a_line(guide: str) -> None:
    """So that a change of one shows as one."""
    text = re.sub(r"```.*?```", "", (DOCS / guide).read_text(), flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#"))]
    assert [line for line in lines if re.search(r"[a-z`)]\. [A-Z]", line)] == []


def test_kong_s_table() -> None:
    """The routes without Kong are Kong's: auth before api, web for the rest."""
    (routed,) = [c for c in configurations("ui-dashboard-7.md") if "routes" in c["sites"][0]["upstream"]]
    routes = routed["sites"][0]["upstream"]["routes"]
    parts = [re.findall(r"kubernetes-dashboard-([a-z]+)\.", route["url"])[0] for route in routes]
    assert list(zip([route["path"] for route in routes], parts, strict=True)) == [
        ("/api/v1/login", "auth"),
        ("/api/v1/csrftoken/login", "auth"),
        ("/api/v1/me", "auth"),
        ("/api/*", "api"),
        ("/metrics", "api"),
    ]


def test_headlamp_s_flags() -> None:
    """Headlamp is told to read just the headers that the gate sends."""
    (values,) = [block for block in blocks((DOCS / "ui-headlamp.md").read_text()) if "config" in block]
    flags = values["config"]["extraArgs"]
    named = {flag.partition("=")[2] for flag in flags if "=" in flag}
    assert named == {"X-Forwarded-User", "X-Forwarded-Group", "X-Forwarded-Email", "X-Forwarded-Id-Token"}


def test_api_server_s_configuration() -> None:
    """The README's AuthenticationConfiguration is of the form that the lab's API server runs with; the flags say the same."""
    text = readme()
    (told,) = [block for block in blocks(text) if block.get("kind") == "AuthenticationConfiguration"]
    trust = Trust("https://dex.example.com", "", ("oidcgate",), username_prefix="oidc:", groups_prefix="oidc:")
    expected = yaml.safe_load(authentication((trust,)))
    del expected["jwt"][0]["issuer"]["certificateAuthority"]
    assert told == expected
    flags = dict(re.findall(r"^--oidc-([a-z-]+)=(\S+)$", text, re.MULTILINE))
    assert flags == {
        "issuer-url": "https://dex.example.com",
        "client-id": "oidcgate",
        "username-claim": "email",
        "username-prefix": "oidc:",
        "groups-claim": "groups",
        "groups-prefix": "oidc:",
    }


def test_credential_in_the_cluster() -> None:
    """The projected token is where the configuration looks for it, and not everybody's to read."""
    found = blocks((DOCS / "managed-clusters.md").read_text())
    (pod,) = [block["spec"] for block in found if block.get("kind") == "Pod"]
    (volume,) = pod["volumes"]
    source = volume["projected"]["sources"][0]["serviceAccountToken"]
    mount = pod["containers"][0]["volumeMounts"][0]["mountPath"]
    (config,) = configurations("managed-clusters.md")
    assert config["sites"][0]["kubernetes"]["credential_file"] == f"{mount}/{source['path']}"
    assert volume["projected"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"] == 65532  # as the image has it
    assert pod["containers"][0]["image"] == f"ghcr.io/oidcgate/oidcgate:{__version__}"
