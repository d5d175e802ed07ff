"""
Files of oauth2-proxy, whatever their format, as one ``Settings``.

Pure. The format is told by the name's ending and by what stands there. A message never quotes a value.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from oidcgate.imports.flag import Flag
from oidcgate.imports.flags import BY_KEY, BY_VARIABLE, ENVIRONMENT, VERSION
from oidcgate.imports.reading_alpha import ALPHA, COVERED, read_alpha, substituted
from oidcgate.imports.reading_flags import Argument, arguments, tokens, words
from oidcgate.imports.reading_manifest import read_manifest
from oidcgate.imports.report import Part, Report
from oidcgate.imports.settings import Given, Settings, Unreadable, merged
from oidcgate.imports.units import split_list

VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
REFERENCE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and text."""

    name: str
    text: str = field(repr=False)


@dataclass(slots=True)
class Layers:
    """What the files say, by kind of source; later files add to earlier ones."""

    report: Report
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    flags: list[Argument] = field(default_factory=list, repr=False)
    hidden: set[str] = field(default_factory=set)
    toml: dict[str, Given] = field(default_factory=dict, repr=False)
    alpha: list[tuple[str, dict[str, Any]]] = field(default_factory=list, repr=False)


def read(sources: Iterable[Source], variables: Mapping[str, str], report: Report) -> Settings:
    """
    All files together.

    Args:
        variables: the environment that oauth2-proxy runs with, as far as it is known.

    Raises:
        Unreadable: a file is none of the formats, or broken.
    """
    layers = Layers(report)
    for source in sources:
        _read(source, layers)
    layers.variables = {**layers.variables, **variables}
    flags = _flags(layers)
    for name, there in (("config", layers.toml), ("alpha-config", layers.alpha)):
        if there:
            flags.pop(name, None)  # it was given, too
    environment = _environment(layers)
    if not layers.alpha:
        return merged(layers.toml, environment, flags)
    legacy = merged(layers.toml, environment, flags)
    alpha: dict[str, Given] = {}
    for _, document in layers.alpha:
        alpha |= read_alpha(substituted(document, layers.variables), report)
    return Settings([*_uncovered(legacy, report), *alpha.values()])


def _uncovered(legacy: Settings, report: Report) -> Iterable[Given]:
    for given in legacy:
        if given.flag.name not in COVERED:
            yield given
        elif not given.is_silent:
            report.add(Part.DIFFERS, given.spelled, "left out: the alpha configuration speaks of this alone")


def _read(source: Source, layers: Layers) -> None:
    name = source.name.lower()
    if name.endswith((".toml", ".cfg")):
        _toml(source, layers)
    elif name.endswith((".yaml", ".yml", ".json")) or re.match(r"\s*\[\s*[\"']?--", source.text):
        _yaml(source, layers)
    elif name.endswith(".service") or _holds_flags(source.text):
        _text(source, layers)
    elif re.search(rf"^\s*(export\s+)?{ENVIRONMENT}[A-Z0-9_]+=", source.text, re.MULTILINE):
        layers.variables |= read_variables(source.text)
    elif re.search(rf"^({'|'.join(ALPHA)}):", source.text, re.MULTILINE):
        _yaml(source, layers)
    elif any(f"{key} " in source.text or f"{key}=" in source.text for key in BY_KEY):
        _toml(source, layers)
    else:
        raise Unreadable(f"{source.name} holds no flags, no {ENVIRONMENT}… lines, no TOML and no alpha configuration")


def _holds_flags(text: str) -> bool:
    return re.search(r"^[\s\-\"'\[,]*(ExecStart=.*\s|\S*oauth2[-_]proxy\s+)?--[a-z]", text, re.MULTILINE) is not None


def _text(source: Source, layers: Layers) -> None:
    """Flags as text; a systemd unit has Environment= lines besides."""
    for line in source.text.splitlines():
        if line.strip().startswith("Environment="):
            pairs = (word.partition("=") for word in words(line.strip().removeprefix("Environment="), source.name))
            layers.variables |= {key: value for key, _, value in pairs}
    found = tokens(source.text, source.name)
    if not found:
        raise Unreadable(f"{source.name} holds no flags")
    layers.flags += arguments(found)


def read_variables(text: str) -> dict[str, str]:
    """``KEY=VALUE`` lines, as in an env file."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := VARIABLE.fullmatch(line.strip()):
            value = match[2].strip()
            found[match[1]] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
    return found


def _yaml(source: Source, layers: Layers) -> None:
    try:
        documents = list(yaml.safe_load_all(source.text))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unreadable(f"{source.name} is not YAML") from None
    before = len(layers.alpha) + len(layers.flags) + len(layers.variables) + len(layers.toml) + len(layers.hidden)
    for document in documents:
        if isinstance(document, dict) and set(document) & set(ALPHA):
            layers.alpha.append((source.name, document))
            continue
        manifest = read_manifest(document)
        layers.flags += arguments(manifest.tokens)
        layers.variables |= manifest.variables
        layers.hidden |= manifest.hidden
        for name, text in manifest.files.items():
            _read(Source(name, text), layers)
    after = len(layers.alpha) + len(layers.flags) + len(layers.variables) + len(layers.toml) + len(layers.hidden)
    if after == before:
        raise Unreadable(f"{source.name} holds nothing of oauth2-proxy's")


def _toml(source: Source, layers: Layers) -> None:
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError:
        raise Unreadable(f"{source.name} is not TOML") from None
    for key, value in document.items():
        flag = BY_KEY.get(key.lower())
        if flag is None:
            layers.report.add(Part.NONE, key, f"no key of oauth2-proxy {VERSION}, which would refuse it")
        else:
            layers.toml[flag.name] = Given(flag, key, _values(flag, value))


def _values(flag: Flag, value: Any) -> tuple[str, ...]:
    if flag.kind != "strings":
        return (str(value).lower() if isinstance(value, bool) else str(value),)
    return tuple(map(str, value)) if isinstance(value, list) else tuple(split_list(str(value)))


def _environment(layers: Layers) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for name in sorted({*layers.variables, *layers.hidden}):
        flag = BY_VARIABLE.get(name)
        value = layers.variables.get(name, "")
        if flag is None:
            if name.startswith(ENVIRONMENT):
                layers.report.add(Part.NONE, name, f"no variable of oauth2-proxy {VERSION}{_plural(name)}")
        elif value:
            found[flag.name] = Given(flag, name, _values(flag, value))
        elif name in layers.hidden:
            found[flag.name] = Given(flag, name, (), is_known=False)
    return found


def _plural(name: str) -> str:
    return f", which reads {name}S" if f"{name}S" in BY_VARIABLE else ""


def _flags(layers: Layers) -> dict[str, Given]:
    """The command line; the last word wins, lists add up."""
    found: dict[str, Given] = {}
    for argument in layers.flags:
        if argument.flag is None:
            layers.report.add(Part.NONE, argument.spelled, f"{argument.what} of oauth2-proxy {VERSION}")
            continue
        flag = argument.flag
        text, known = _resolved(argument.value, layers.variables)
        values = tuple(split_list(text)) if flag.kind == "strings" else (text,)
        earlier = found.get(flag.name)
        if flag.kind == "strings" and earlier is not None:
            values = (*earlier.values, *values)
        found[flag.name] = Given(flag, argument.spelled, values if known else (), is_known=known)
    return found


def _resolved(text: str, variables: Mapping[str, str]) -> tuple[str, bool]:
    """A value with ``$(NAME)`` and ``${NAME}`` replaced, and whether all of them are known."""
    names = {first or second for first, second in REFERENCE.findall(text)}
    replaced = REFERENCE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text)
    return replaced, names <= set(variables)
