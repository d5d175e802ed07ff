"""`oidcgate doctor`: from the browser's address to the cluster UI, and which hop does not hold."""

import argparse
import asyncio
import logging
import os
import shutil
import sys
from pathlib import Path

from oidcgate.cli.check import load_checked
from oidcgate.config import Config
from oidcgate.doctor import places, report
from oidcgate.doctor.calls import Caller
from oidcgate.doctor.device import Terminal
from oidcgate.doctor.plan import make_plan
from oidcgate.doctor.report import Finding
from oidcgate.doctor.scene import make_scene
from oidcgate.doctor.walk import walk
from oidcgate.errors import ConfigError, Problem


def doctor(options: argparse.Namespace) -> int:
    """
    Walk, and print what was seen: 1 when a hop fails, else 0.

    Raises:
        ConfigError: the configuration or the options are wrong.
    """
    file: Path = options.config
    config = load_checked(file)
    raw = None if options.token_file is None else read_token(options.token_file)
    logging.getLogger("oidcgate").addHandler(logging.NullHandler())  # the findings say it
    findings = asyncio.run(examine(config, options, raw))
    if options.json:
        print(report.to_json(findings), end="")
    else:
        lines = places.lines_of(file.read_text(encoding="utf-8"))
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        text = report.to_text(
            findings,
            place=lambda key: places.place(key, file=file.name, lines=lines),
            colour=is_coloured(),
            columns=columns,
        )
        print(text, end="")
    return 1 if report.has_failed(findings) else 0


async def examine(config: Config, options: argparse.Namespace, raw: str | None) -> list[Finding]:
    """
    All findings.

    Raises:
        ConfigError: there is no such site.
    """
    scene = make_scene(config, Caller(), site=options.site, raw=raw, wants_login=options.login)
    terminal = Terminal(lambda text: print(text, file=sys.stderr, flush=True))
    try:
        return await walk(make_plan(scene, terminal), offline=options.offline)
    finally:
        await scene.close()


def read_token(path: Path) -> str:
    """
    The ID token in a file.

    Raises:
        ConfigError: there is none.
    """
    try:
        raw = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no token"
        raise ConfigError([Problem("--token-file", f"{path} cannot be read: {reason}")]) from None
    if not raw:
        raise ConfigError([Problem("--token-file", f"{path} is empty")])
    return raw


def is_coloured() -> bool:
    """Colours are for terminals whose owner has not said no (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
