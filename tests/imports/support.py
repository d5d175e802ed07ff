"""An import in one line."""

from pathlib import Path
from typing import Any

import yaml

from oidcgate.config.load import parse_config
from oidcgate.config.model import Config
from oidcgate.imports.flag import Flag
from oidcgate.imports.flags import FLAGS
from oidcgate.imports.oauth2_proxy import Imported, convert
from oidcgate.imports.reading import Source
from oidcgate.imports.report import Part
from oidcgate.imports.settings import Given

GOOD = (
    "--provider=oidc --oidc-issuer-url=https://dex.example.com --client-id=gate --client-secret-file=/run/secret "
    "--redirect-url=https://ui.example.com/oauth2/callback --upstream=https://ui.svc --email-domain=*\n"
)


def imported(flags: str, *, base: str = GOOD, files: dict[str, str] | None = None, **texts: str) -> Imported:
    """What flags, added to good ones, and other files' texts become."""
    sources = [Source("flags.txt", base + flags)] if base + flags else []
    sources += [Source(name.replace("_", "."), text) for name, text in texts.items()]
    return convert(sources, {}, (files or {}).get)


def accepted(result: Imported) -> Config:
    """The gate's own view of the result, which its text must say as well."""
    assert yaml.safe_load(result.text) == result.document
    return parse_config(result.document, folder=Path("/etc/gate"), files=False)


def config(flags: str, **options: Any) -> Config:
    """The configuration that flags become."""
    return accepted(imported(flags, **options))


def told(result: Imported, part: Part, name: str) -> list[str]:
    """What a part of the report says of one setting."""
    return [line for line in result.report.lines(part) if line.startswith(f"{name}: ")]


def given(name: str, *values: str, spelled: str = "", is_known: bool = True) -> Given:
    """A setting."""
    flag: Flag = FLAGS[name]
    return Given(flag, spelled or f"--{name}", values, is_known)
