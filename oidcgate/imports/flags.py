"""
Every flag of oauth2-proxy 7.15.4, by its name and by the names that its files and the environment have for it.

Pure. The lists are in ``flags_provider``, ``flags_session`` and ``flags_server``; a test holds them to ``--help``.
"""

from oidcgate.imports.flag import Flag
from oidcgate.imports.flags_provider import PROVIDER
from oidcgate.imports.flags_server import SERVER
from oidcgate.imports.flags_session import SESSION

VERSION = "7.15.4"
ENVIRONMENT = "OAUTH2_PROXY_"

FLAGS: dict[str, Flag] = {flag.name: flag for flag in (*PROVIDER, *SESSION, *SERVER)}
BY_KEY: dict[str, Flag] = {flag.toml_key: flag for flag in FLAGS.values()} | {"google_group": FLAGS["google-group"]}
BY_VARIABLE: dict[str, Flag] = {ENVIRONMENT + key.upper(): flag for key, flag in BY_KEY.items()}
