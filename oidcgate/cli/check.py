"""`oidcgate check`: the same checks as at a start, without starting."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from oidcgate.config import Config, load_config
from oidcgate.errors import ConfigError
from oidcgate.web.keys import read_ring
from oidcgate.web.machine import check_runtime

STARS = "******"
PASSWORD = re.compile(r"^([a-z0-9+.-]+://[^/?#:@]*:)[^/?#]*@", re.IGNORECASE)


def check(path: Path | None, *, show: bool, schema: bool) -> int:
    """
    Check a configuration file.

    Raises:
        ConfigError: everything that is wrong.
    """
    if schema:
        print(json.dumps(json_schema(), indent=2))
        return 0
    if path is None:
        print("oidcgate check: --config FILE is needed (or --schema)", file=sys.stderr)
        return 2
    config = load_checked(path)
    if show:
        print(effective(config), end="")
    else:
        count = len(config.sites)
        print(f"{path}: good; {count} site{'s' if count > 1 else ''}, provider {config.provider.issuer}")
    return 0


def load_checked(path: Path) -> Config:
    """
    Load a configuration and check what it runs on and the keys it names.

    Raises:
        ConfigError: everything that is wrong.
    """
    problems = check_runtime()
    try:
        config = load_config(path)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if config.session.keys_file is not None:
        try:
            read_ring(Path(config.session.keys_file), "session.keys_file")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return config


def effective(config: Config) -> str:
    """The configuration with every default, as YAML; secrets starred."""
    text: str = yaml.safe_dump(starred(config.model_dump(mode="json")), sort_keys=False, allow_unicode=True)
    return text


def starred(node: Any) -> Any:
    """The same tree with the passwords in URLs replaced by stars: the only secrets that a configuration can hold."""
    if isinstance(node, dict):
        return {key: starred(value) for key, value in node.items()}
    if isinstance(node, list):
        return [starred(item) for item in node]
    return PASSWORD.sub(rf"\1{STARS}@", node) if isinstance(node, str) else node


def json_schema() -> dict[str, Any]:
    """A JSON Schema of the configuration file."""
    schema = Config.model_json_schema(mode="validation")
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "oidcgate configuration"}
