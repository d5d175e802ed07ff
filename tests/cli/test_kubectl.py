"""The options of `oidcgate kubeconfig` and `oidcgate credential`."""

import subprocess
import sys

import pytest

from oidcgate.cli.main import main, parser

GET = ["credential", "get", "--issuer", "https://dex.example.com", "--client-id", "kubectl"]


def test_defaults() -> None:
    """Issuer and client are all that is needed."""
    options = parser().parse_args(GET)
    assert (options.audience, options.scope, options.redirect_port, options.timeout) == ("", None, 0, 300.0)
    assert not options.device
    assert not options.no_browser


@pytest.mark.parametrize(
    "more",
    [
        ["--device", "--no-browser"],
        ["--device", "--browser-command", "firefox"],
        ["--ca-file", "x", "--ca-data", "y"],
        ["--redirect-port", "65536"],
        ["--redirect-port", "-1"],
        ["--redirect-port", "x"],
    ],
)
def test_wrong_usage(more: list[str]) -> None:
    """Is 2."""
    with pytest.raises(SystemExit) as caught:
        main([*GET, *more])
    assert caught.value.code == 2


def test_both_are_listed() -> None:
    """In the help of all commands."""
    assert "kubeconfig" in parser().format_help()
    assert "credential" in parser().format_help()


def test_what_is_not_needed_is_not_loaded() -> None:
    """kubectl runs the plugin for each command: a kept token costs no HTTP client and no configuration."""
    loaded = "import sys; import oidcgate.cli.main, oidcgate.cli.credential; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "pydantic", "yaml", "asyncio", "jwt"} & set(done.stdout.split())
