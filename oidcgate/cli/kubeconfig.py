"""`oidcgate kubeconfig`: how kubectl signs in at a site's cluster, ready to be used."""

import argparse
from pathlib import Path

from oidcgate.config import load_config
from oidcgate.errors import ConfigError, Problem
from oidcgate.kubectl.kubeconfig import choose_site, make_setup, render


def kubeconfig(options: argparse.Namespace) -> int:
    """
    Print it.

    Raises:
        ConfigError: the configuration is wrong, lacks something, or names a file that cannot be read.
    """
    config = load_config(options.config, files=False)
    index = choose_site(config, options.site)
    setup = make_setup(config, index, server=options.server, name=options.name, command=options.plugin)
    ca = contents(setup.ca_file, f"sites[{index}].kubernetes.ca_file")
    print(render(setup, ca=ca, issuer_ca=contents(setup.issuer_ca_file, "provider.ca_file")), end="")
    return 0


def contents(file: str | None, path: str) -> bytes | None:
    """
    What is in a file that the configuration names at ``path``.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return None if file is None else Path(file).read_bytes()
    except OSError as error:
        raise ConfigError([Problem(path, f"{file}: {error.strerror}")]) from error
