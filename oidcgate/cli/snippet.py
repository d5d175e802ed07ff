"""`oidcgate snippet`: the configuration of the proxy that asks the gate, for this very configuration."""

import argparse
from importlib import import_module

from oidcgate.config import load_config
from oidcgate.snippets import PROXIES
from oidcgate.snippets.plan import make_plan


def snippet(options: argparse.Namespace) -> int:
    """
    Print it.

    Raises:
        ConfigError: the configuration is wrong.
        NoSuchSite: it has no such site.
    """
    plan = make_plan(
        load_config(options.config, files=False),
        site=options.site,
        gate=options.gate,
        upstream=options.upstream,
        listen=options.listen,
        cert_file=options.cert_file,
        key_file=options.key_file,
    )
    render = import_module(f"oidcgate.snippets.{PROXIES[options.proxy]}").render
    print(render(plan), end="")
    return 0
