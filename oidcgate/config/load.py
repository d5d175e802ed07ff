"""
From a YAML file to a ``Config``, or to every problem in it at once.

Edge: reads the file and those it names. A problem says where (a YAML path), what, and what was probably meant.
"""

import copy
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from oidcgate.config.model import Config
from oidcgate.config.rules import check_rules
from oidcgate.errors import ConfigError, Problem


def load_config(path: Path, *, files: bool = True) -> Config:
    """
    Read and check a configuration file. Paths in it are taken from the file's own folder.

    Args:
        files: also look at the files that it names (secrets, certificates).

    Raises:
        ConfigError: everything that is wrong.
    """
    try:
        document, problems = _read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error.strerror}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([Problem("", f"{path} is not YAML: {error}")]) from None
    try:
        config = parse_config(document, folder=path.parent, files=files)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _read(text: str) -> tuple[object, list[Problem]]:
    """The document in YAML's safe subset, and the keys that are written twice, which YAML itself loses in silence."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return (None, []) if node is None else (loader.construct_document(node), list(_twice(node, "", set())))
    finally:
        loader.dispose()


def _twice(node: yaml.Node, path: str, visited: set[int]) -> Iterator[Problem]:
    if id(node) in visited:
        return  # an alias
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _twice(item, f"{path}[{index}]", visited)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            below, line = f"{path}.{key.value}" if path else str(key.value), key.start_mark.line + 1
            if below in lines:
                yield Problem(below, f"written twice, in lines {lines[below]} and {line}")
            lines.setdefault(below, line)
            yield from _twice(value, below, visited)


def parse_config(document: object, *, folder: Path, files: bool = True) -> Config:
    """
    Check a parsed YAML document.

    Raises:
        ConfigError: everything that is wrong.
    """
    if not isinstance(document, dict):
        raise ConfigError([Problem("", "the file must hold keys such as listen, provider and sites")])
    config, problems = _validated(document)
    if config is not None:
        config = absolute_paths(config, folder)
        problems += check_rules(config, files=files)
    if config is None or problems:
        raise ConfigError(_once(problems))
    return config


def _validated(document: dict[Any, Any]) -> tuple[Config | None, list[Problem]]:
    """What the model says; where only unknown keys are wrong, the configuration without them, to be checked further."""
    try:
        return Config.model_validate(document), []
    except ValidationError as error:
        errors = error.errors()
    inner = {each["loc"][:size] for each in errors for size in range(len(each["loc"]))}
    errors = [each for each in errors if each["loc"] not in inner]  # a list of bad items is not also too short
    problems = [_problem(each) for each in errors]
    if any(each["type"] != "extra_forbidden" for each in errors):
        return None, problems
    known = copy.deepcopy(document)
    for each in errors:
        section: Any = known
        for part in each["loc"][:-1]:
            section = section[part]
        section.pop(each["loc"][-1], None)
    return Config.model_validate(known), problems


def _once(problems: list[Problem]) -> list[Problem]:
    """Each problem once, and none about a list whose items have problems of their own."""
    paths = [problem.path for problem in problems]
    return [p for p in dict.fromkeys(problems) if not any(path.startswith(f"{p.path}[") for path in paths)]


UNION = re.compile(r"str|int|(tuple|literal)\[.*\]")  # what pydantic adds to a location for each kind of a union


def yaml_path(location: tuple[str | int, ...]) -> str:
    """``('sites', 0, 'url')`` -> ``sites[0].url``; names that pydantic adds for unions are dropped."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not UNION.fullmatch(part):
            text += f".{part}" if text else part
    return text


def _problem(error: Any) -> Problem:
    path = yaml_path(error["loc"])
    if error["type"] == "extra_forbidden":
        section, key = yaml_path(error["loc"][:-1]), error["loc"][-1]
        return Problem(f"{section}.{key}" if section else str(key), "unknown key" + near_match(error["loc"]))
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


PATH_KEYS = {
    "credential_file",
    "file",
    "logo_file",
    "cert_file",
    "key_file",
    "ca_file",
    "client_secret_file",
    "token_file",
    "state_dir",
    "keys_file",
}


def absolute_paths(config: Config, folder: Path) -> Config:
    """The same configuration with every file's path made absolute, relative ones from ``folder``."""
    return Config.model_validate(_absolute(config.model_dump(), folder))


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
