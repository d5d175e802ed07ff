"""
From a YAML file to a ``Config``, or to every problem in it at once.

Edge: reads the file and those it names. A problem says where (a YAML path), what, and what was probably meant.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from oidcgate.config.model import Config
from oidcgate.config.rules import check_rules
from oidcgate.errors import ConfigError, Problem

RESERVED = {
    "forward_auth",
    "session.admins",
    "admin.token_file",
    "sites[].kubernetes",
    "sites[].badge",
    "sites[].kubectl",
    "sites[].upstream.routes",
    "look",
    "audit",
}


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, less the silent loss of a key that is written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_config(path: Path, *, files: bool = True) -> Config:
    """
    Read and check a configuration file. Paths in it are taken from the file's own folder.

    Args:
        files: also look at the files that it names (secrets, certificates).

    Raises:
        ConfigError: everything that is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error.strerror}")]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("", f"{path} is not YAML: {error}")]) from None
    return parse_config(document, folder=path.parent, files=files)


def parse_config(document: object, *, folder: Path, files: bool = True) -> Config:
    """
    Check a parsed YAML document.

    Raises:
        ConfigError: everything that is wrong.
    """
    if not isinstance(document, dict):
        raise ConfigError([Problem("", "the file must hold keys such as listen, provider and sites")])
    problems = list(_reserved(document))
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        named = {problem.path for problem in problems}
        problems += [p for p in map(_problem, error.errors()) if p.path not in named]
        raise ConfigError(_once(problems)) from None
    config = absolute_paths(config, folder)
    problems += check_rules(config, files=files)
    if problems:
        raise ConfigError(problems)
    return config


def _once(problems: list[Problem]) -> list[Problem]:
    """Each problem once, and none about a list whose items have problems of their own."""
    paths = [problem.path for problem in problems]
    return [p for p in dict.fromkeys(problems) if not any(path.startswith(f"{p.path}[") for path in paths)]


def yaml_path(location: tuple[str | int, ...]) -> str:
    """``('sites', 0, 'url')`` -> ``sites[0].url``; names that pydantic adds for unions are dropped."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part not in {"str", "int", "tuple"}:
            text += f".{part}" if text else part
    return text


def _problem(error: Any) -> Problem:
    path = yaml_path(error["loc"])
    if error["type"] == "extra_forbidden":
        return Problem(path, "unknown key" + near_match(error["loc"]))
    if error["type"] == "missing":
        return Problem(path, "this key is needed")
    return Problem(path, str(error["msg"]).removeprefix("Value error, "))


def near_match(location: tuple[str | int, ...]) -> str:
    """``; did you mean "url"?`` for a key that looks like one of the section's, else nothing."""
    names = fields_at(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(names)}"


def fields_at(location: tuple[str | int, ...]) -> list[str]:
    """The keys of the section at a location."""
    model: Any = Config
    for part in location:
        if isinstance(part, int) or not _section(model):
            continue
        field = model.model_fields.get(part)
        model = next(_sections(field.annotation), None) if field else None
    return list(model.model_fields) if _section(model) else []


def _section(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _sections(annotation: Any) -> Iterator[Any]:
    if _section(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _reserved(document: dict[Any, Any]) -> Iterator[Problem]:
    """Keys of the contract that this version does not act on: said plainly, not accepted in silence."""
    for path in sorted(RESERVED):
        for found in _find(document, path.split("."), ""):
            yield Problem(found, "this version does not act on this key yet; leave it out")


def _find(node: Any, parts: list[str], prefix: str) -> Iterator[str]:
    if not isinstance(node, dict) or not parts:
        return
    name = parts[0].removesuffix("[]")
    if name not in node:
        return
    path = f"{prefix}.{name}" if prefix else name
    if len(parts) == 1:
        yield path
    elif parts[0].endswith("[]"):
        for index, item in enumerate(node[name] if isinstance(node[name], list) else []):
            yield from _find(item, parts[1:], f"{path}[{index}]")
    else:
        yield from _find(node[name], parts[1:], path)


PATH_KEYS = {"cert_file", "key_file", "ca_file", "client_secret_file", "state_dir", "keys_file"}


def absolute_paths(config: Config, folder: Path) -> Config:
    """The same configuration with every file's path made absolute, relative ones from ``folder``."""
    return Config.model_validate(_absolute(config.model_dump(exclude_unset=True, warnings=False), folder))


def _absolute(node: Any, folder: Path) -> Any:
    if isinstance(node, dict):
        return {
            key: str(folder.absolute() / value)
            if key in PATH_KEYS and isinstance(value, str)
            else _absolute(value, folder)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return [_absolute(item, folder) for item in node]
    return node
