"""The options of `oidcgate kubeconfig` and `oidcgate credential`; what they do is imported when they run."""

import argparse
from pathlib import Path


def add_kubectl(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Both commands."""
    add_kubeconfig(commands)
    add_credential(commands)


def add_kubeconfig(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``kubeconfig``."""
    command = commands.add_parser("kubeconfig", help="print a kubeconfig that signs kubectl in at a site's cluster")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the gate's configuration")
    command.add_argument("--site", metavar="URL", help="which site, if there are several")
    command.add_argument("--server", metavar="URL", help="the API server, where the configuration does not name it")
    command.add_argument("--name", metavar="NAME", help="of the cluster and the context; else the site's host")
    command.add_argument("--command", dest="plugin", default="oidcgate", metavar="PATH", help="where the plugin is")


def add_credential(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``credential``."""
    command = commands.add_parser("credential", help="kubectl's credential plugin: get a token, show, or sign out")
    command.add_argument("what", choices=["get", "logout", "status"], help="get is what kubectl asks for")
    command.add_argument("--issuer", required=True, metavar="URL", help="who signs people in")
    command.add_argument("--client-id", required=True, metavar="ID", help="a public client of the issuer")
    command.add_argument("--audience", default="", metavar="ID", help="the cluster's own client, whom the token is for")
    command.add_argument("--scope", action="append", metavar="NAME", help="again for each; else what the gate asks for")
    command.add_argument("--redirect-port", type=port, default=0, metavar="N", help="where a browser comes back to")
    authority = command.add_mutually_exclusive_group()
    authority.add_argument("--ca-file", metavar="FILE", help="who signed the issuer's certificate")
    authority.add_argument("--ca-data", metavar="BASE64", help="the same, in place")
    command.add_argument("--endpoint-host", action="append", default=[], metavar="HOST", help="of further endpoints")
    command.add_argument("--algorithm", action="append", metavar="NAME", help="again for each; else RS256 and ES256")
    command.add_argument("--max-token-life", type=float, metavar="SECONDS", help="a token that lives longer is refused")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--device", action="store_true", help="sign in on another device")
    way.add_argument("--no-browser", action="store_true", help="only print the address to open")
    way.add_argument("--browser-command", metavar="COMMAND", help="what opens an address, in place of the system's")
    command.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="for somebody to sign in")


def port(text: str) -> int:
    """
    A port, or 0 for any.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a port from 0 to 65535")
    return int(text)


def run_kubectl(options: argparse.Namespace) -> int:
    """Dispatch."""
    if options.command == "kubeconfig":
        from oidcgate.cli.kubeconfig import kubeconfig

        return kubeconfig(options)
    from oidcgate.cli.credential import credential

    return credential(options)
