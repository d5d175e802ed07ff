"""The kubeconfig of a site."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from oidcgate.config.load import parse_config
from oidcgate.config.model import Config
from oidcgate.errors import ConfigError
from oidcgate.kubectl.kubeconfig import HINT, choose_site, make_setup, render
from tests.support.stack import merged

SITE = {
    "url": "https://one.example.com",
    "upstream": {"url": "https://ui.internal"},
    "kubernetes": {"api": "https://api.one.example.com:6443", "ca_file": "/etc/one.pem"},
    "kubectl": {"client_id": "kubectl"},
}


def config(*sites: dict[str, Any], **provider: Any) -> Config:
    """A configuration with these changes to the site."""
    whole = {
        "provider": {"issuer": "https://dex.example.com", "client_id": "gate", **provider},
        "sites": [merged(SITE, site) for site in sites or ({},)],
    }
    return parse_config(whole, folder=Path("/etc"), files=False)


def rendered(made: Config, index: int = 0, **options: Any) -> dict[str, Any]:
    """What is printed, read again."""
    text = render(make_setup(made, index, **options), ca=b"CA", issuer_ca=None)
    assert "secret" not in text
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def args(made: Config, index: int = 0) -> list[str]:
    """The plugin's arguments."""
    found: list[str] = rendered(made, index)["users"][0]["user"]["exec"]["args"]
    return found


def test_whole() -> None:
    """All that kubectl needs, and no secret."""
    assert rendered(config()) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "one.example.com",
                "cluster": {
                    "server": "https://api.one.example.com:6443",
                    "certificate-authority-data": base64.b64encode(b"CA").decode(),
                },
            }
        ],
        "users": [
            {
                "name": "oidcgate@one.example.com",
                "user": {
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1",
                        "command": "oidcgate",
                        "args": [
                            *("credential", "get", "--issuer", "https://dex.example.com"),
                            *("--client-id", "kubectl"),
                        ],
                        "installHint": HINT,
                        "interactiveMode": "IfAvailable",
                        "provideClusterInfo": False,
                    }
                },
            }
        ],
        "contexts": [
            {
                "name": "one.example.com",
                "context": {"cluster": "one.example.com", "user": "oidcgate@one.example.com"},
            }
        ],
        "current-context": "one.example.com",
    }


@pytest.mark.parametrize(
    ("site", "provider", "more"),
    [
        ({"provider": {"audience": "one"}}, {}, ["--audience", "one"]),
        ({"provider": {"audience": "kubectl"}}, {}, []),
        ({"kubectl": {"redirect_port": 18000}}, {}, ["--redirect-port", "18000"]),
        ({}, {"scopes": ["openid", "audience:server:client_id:x"]}, ["--scope", "openid"]),
        ({}, {"scopes": ["offline_access", "groups", "profile", "email", "openid"]}, []),
        ({}, {"endpoint_hosts": ["keys.example.com"]}, ["--endpoint-host", "keys.example.com"]),
        ({}, {"algorithms": ["ES256"]}, ["--algorithm", "ES256"]),
        ({}, {"max_token_life": "48h"}, ["--max-token-life", "172800"]),
    ],
)
def test_arguments(site: dict[str, Any], provider: dict[str, Any], more: list[str]) -> None:
    """What differs from what the plugin does by itself is told; another client's audience is no scope of ours."""
    assert args(config(site, **provider))[6:] == more


def test_authority_of_the_issuer() -> None:
    """It comes along, since its file is on another machine."""
    setup = make_setup(config(), 0)
    text = render(setup, ca=None, issuer_ca=b"ISSUER")
    plugin = yaml.safe_load(text)["users"][0]["user"]["exec"]
    assert plugin["args"][-2:] == ["--ca-data", base64.b64encode(b"ISSUER").decode()]
    assert "certificate-authority-data" not in text


def test_server_name() -> None:
    """It goes with the configured address, and with no other."""
    made = config({"kubernetes": {"server_name": "kubernetes"}})
    assert rendered(made)["clusters"][0]["cluster"]["tls-server-name"] == "kubernetes"
    other = rendered(made, server="https://elsewhere:6443", name="here", command="/opt/oidcgate")
    assert "tls-server-name" not in other["clusters"][0]["cluster"]
    assert other["clusters"][0]["cluster"]["server"] == "https://elsewhere:6443"
    assert other["current-context"] == "here"
    assert other["users"][0]["user"]["exec"]["command"] == "/opt/oidcgate"


@pytest.mark.parametrize(
    ("site", "options", "paths"),
    [
        ({"kubectl": {"client_id": None}}, {}, ["sites[0].kubectl.client_id"]),
        ({"kubernetes": None}, {}, ["sites[0].kubernetes.api"]),
        (
            {"kubernetes": None, "kubectl": {"client_id": None}},
            {},
            ["sites[0].kubectl.client_id", "sites[0].kubernetes.api"],
        ),
        ({}, {"server": "api.example.com"}, ["--server"]),
    ],
)
def test_what_is_missing(site: dict[str, Any], options: dict[str, Any], paths: list[str]) -> None:
    """All of it at once, each with its key."""
    with pytest.raises(ConfigError) as refused:
        make_setup(config(site), 0, **options)
    assert [problem.path for problem in refused.value.problems] == paths


def test_server_in_place_of_the_configuration() -> None:
    """It does without kubernetes.api."""
    made = config({"kubernetes": None})
    assert rendered(made, server="https://api:6443")["clusters"][0]["cluster"]["server"] == "https://api:6443"


TWO = {"url": "https://two.example.com"}
NONE: dict[str, Any] = {"kubectl": {"client_id": None}}


@pytest.mark.parametrize(
    ("sites", "url", "index"),
    [
        ([{}], None, 0),
        ([NONE], None, 0),
        ([{}, TWO], "https://two.example.com/", 1),
        ([NONE, TWO], None, 1),
        ([{}, TWO], None, "which one is meant"),
        ([NONE, {**TWO, **NONE}], None, "no site names"),
        ([{}, TWO], "https://three.example.com", "is no site"),
    ],
)
def test_which_site(sites: list[dict[str, Any]], url: str | None, index: int | str) -> None:
    """The named one, else the only one that it could be."""
    made = config(*sites)
    if isinstance(index, int):
        assert choose_site(made, url) == index
        return
    with pytest.raises(ConfigError, match=index):
        choose_site(made, url)
