"""
`oidcgate import`: another program's configuration, written anew as ours.

Edge: reads the files, prints our configuration to standard output and what became of each setting to standard error.
"""

import argparse
import os
import sys
from pathlib import Path

from oidcgate.config.load import parse_config
from oidcgate.errors import ConfigError
from oidcgate.imports.oauth2_proxy import Imported, convert
from oidcgate.imports.reading import Source, read_variables
from oidcgate.imports.settings import Unreadable


def import_(options: argparse.Namespace) -> int:
    """0 when the gate takes the result as it is, 1 when a person must mend it, 2 for unreadable input."""
    try:
        sources = [Source(path.name, _read(path)) for path in options.files]
        variables = read_variables(_read(options.environment)) if options.environment else {}
        imported = convert(sources, variables, lambda name: _named(name, options.files))
        _write(imported.text, options.output)
    except Unreadable as error:
        print(f"oidcgate import: {error}", file=sys.stderr)
        return 2
    print(imported.report.render(), file=sys.stderr)
    return _checked(imported, options.output)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8 text") from None


def _named(name: str, files: list[Path]) -> str | None:
    """The text of a file that a configuration names: where it says, or beside one of the configuration's files."""
    for candidate in (Path(name), *(path.parent / part for path in files for part in (name, Path(name).name))):
        try:
            return candidate.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
    return None


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise Unreadable(f"{output} is there already; name another file") from None
    except OSError as error:
        raise Unreadable(f"{output} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _checked(imported: Imported, output: Path | None) -> int:
    try:
        parse_config(imported.document, folder=(output or Path()).parent, files=False)
    except ConfigError as error:
        print("The gate would not take this configuration yet:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 1
    count = imported.to_fill_in
    places = f"{count} place{'s' if count > 1 else ''} to FILL IN" if count else "nothing is left to fill in"
    print(f"The gate takes this configuration; {places}.", file=sys.stderr)
    return 0
