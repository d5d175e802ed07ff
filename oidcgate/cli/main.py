"""
The command line.

Edge. Exit codes: 0 good, 1 failed at run time, 2 configuration or usage. A command's modules are imported when it runs,
so that `oidcgate --help` is quick.
"""

import argparse
import sys
from pathlib import Path

from oidcgate import __version__
from oidcgate.cli.completion import add_completion
from oidcgate.cli.kubectl import add_kubectl, run_kubectl
from oidcgate.cli.sessions import add_sessions
from oidcgate.errors import ConfigError, OidcgateError
from oidcgate.snippets import PROXIES

CONFIG = "the gate's configuration"


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="oidcgate", description="One login for the cluster's web UIs.")
    top.add_argument("--version", action="version", version=f"oidcgate {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the gate")
    serve.add_argument("--config", type=Path, required=True, metavar="FILE", help=CONFIG)

    check = commands.add_parser("check", help="check a configuration without starting")
    check.add_argument("--config", type=Path, metavar="FILE", help=CONFIG)
    check.add_argument("--print", action="store_true", dest="show", help="show the effective configuration")
    check.add_argument("--schema", action="store_true", help="print a JSON Schema for editors")

    add_explain(commands)
    add_snippet(commands)
    add_kubectl(commands)
    add_doctor(commands)
    add_sessions(commands)
    add_completion(commands)

    imported = commands.add_parser("import", help="write another program's configuration anew as ours")
    imported.add_argument("what", choices=["oauth2-proxy"], help="whose it is")
    imported.add_argument("files", type=Path, nargs="+", metavar="FILE", help="flags, environment, TOML or alpha YAML")
    imported.add_argument("--environment", type=Path, metavar="FILE", help="KEY=VALUE lines that it runs with")
    imported.add_argument("--output", type=Path, metavar="FILE", help="a new file, in place of standard output")

    commands.add_parser("secret", help="print a new key for session.keys_file")

    worker = commands.add_parser("worker")  # the master's own; without a help text it is not listed
    worker.add_argument("control", type=int)
    worker.add_argument("listen", type=int, nargs="+")

    demo = commands.add_parser("demo", help="the whole story on this machine, with nothing else installed")
    demo.add_argument(
        "--port", type=demo_port, default=8000, help="the gate's port; the next two are the issuer's and the UI's"
    )
    demo.add_argument("--issuer", metavar="URL", help="use this provider, such as a real Dex, in place of the demo's")
    demo.add_argument("--client-id", default="oidcgate", metavar="ID", help="the client at that provider")
    demo.add_argument("--client-secret-file", type=Path, metavar="FILE", help="its secret; without one it is public")
    describe(commands)
    return top


def describe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Let each command's own help begin with what the list of commands says of it."""
    for listed in commands._choices_actions:  # argparse tells it nowhere else
        commands.choices[listed.dest].description = listed.help


def add_snippet(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``snippet``."""
    snippet = commands.add_parser("snippet", help="print the configuration of the proxy that asks the gate")
    snippet.add_argument("proxy", choices=sorted(PROXIES), help="which proxy it is")
    snippet.add_argument("--config", type=Path, required=True, metavar="FILE", help=CONFIG)
    snippet.add_argument("--site", metavar="URL", help="which site, if there are several")
    snippet.add_argument("--gate", metavar="URL", help="where that proxy reaches the gate")
    snippet.add_argument("--upstream", metavar="URL", help="where it reaches the UI")
    snippet.add_argument("--listen", metavar="HOST:PORT", help="where it listens")
    snippet.add_argument("--cert-file", metavar="FILE", help="its certificate, where it ends TLS")
    snippet.add_argument("--key-file", metavar="FILE", help="that certificate's key")


def add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``explain``."""
    explained = commands.add_parser("explain", help="say what would become of a request, and why")
    explained.add_argument("--config", type=Path, required=True, metavar="FILE", help=CONFIG)
    explained.add_argument("--url", required=True, help="its address, as in the browser")
    explained.add_argument("--method", type=str.upper, default="GET", help="GET unless told otherwise")
    explained.add_argument("--user", metavar="EMAIL", help="who is signed in, by a verified address")
    explained.add_argument("--subject", metavar="SUB", help="and by the token's sub")
    explained.add_argument("--group", nargs="+", action="extend", default=[], metavar="NAME", help="and their groups")
    explained.add_argument("--nobody", action="store_true", help="nobody is signed in, as when nobody is described")
    way = explained.add_mutually_exclusive_group()
    way.add_argument("--script", action="store_true", help="a page's script asks, in place of a person's click")
    way.add_argument("--websocket", action="store_true", help="a page opens a websocket")
    explained.add_argument("--from", dest="origin", metavar="ORIGIN", help="the origin of the page that it comes from")
    explained.add_argument("--json", action="store_true", help="print an object for programs")


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``doctor``."""
    walked = commands.add_parser(
        "doctor", help="walk from the browser's address to the UI, and name the hop that fails"
    )
    walked.add_argument("--config", type=Path, required=True, metavar="FILE", help=CONFIG)
    walked.add_argument("--site", metavar="URL", help="only this one, or a host of a site with *")
    walked.add_argument("--json", action="store_true", help="print a list of objects for programs")
    token = walked.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file", type=Path, metavar="FILE", help="an ID token, to see who the cluster takes it for"
    )
    token.add_argument("--login", action="store_true", help="sign in with a browser anywhere, by the device flow")
    walked.add_argument("--offline", action="store_true", help="only what needs no network")


def demo_port(text: str) -> int:
    """
    A port that has two more behind it.

    Raises:
        ArgumentTypeError: there are none.
    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65533:
        raise argparse.ArgumentTypeError("the demo needs a port from 1 to 65533")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        return run(options)
    except ConfigError as error:
        count = len(error.problems)
        print(f"{count} problem{'s' if count > 1 else ''} in the configuration:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        return 2
    except OidcgateError as error:
        print(f"oidcgate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def run(options: argparse.Namespace) -> int:
    """Dispatch."""
    match options.command:
        case "serve":
            from oidcgate.cli.serve import serve

            return serve(options.config)
        case "check":
            from oidcgate.cli.check import check

            return check(options.config, show=options.show, schema=options.schema)
        case "worker":
            from oidcgate.cli.serve import worker

            return worker(options.control, options.listen)
        case "demo":
            from oidcgate.cli.demo import demo

            return demo(options)
        case "doctor":
            from oidcgate.cli.doctor import doctor

            return doctor(options)
        case "sessions":
            from oidcgate.cli.sessions import sessions

            return sessions(options)
        case "kubeconfig" | "credential":
            return run_kubectl(options)
        case _:
            return run_offline(options)


def run_offline(options: argparse.Namespace) -> int:
    """Dispatch what only reads and prints."""
    match options.command:
        case "explain":
            from oidcgate.cli.explain import explain_

            return explain_(options)
        case "snippet":
            from oidcgate.cli.snippet import snippet

            return snippet(options)
        case "import":
            from oidcgate.cli.import_ import import_

            return import_(options)
        case "completion":
            from oidcgate.cli.completion import completion

            return completion(options.shell, parser())
        case _:
            from oidcgate.cli.secret import secret

            return secret()
