"""
What tests ask of Kubernetes manifests: that they are valid, and that the gate takes the configuration inside them.

`documents` reads them, `validate` holds them to Kubernetes' own schemas (and to those of custom resources), `gate_configs`
finds the gate's configurations, `check` gives one to the real `oidcgate check`, and `unmounted` says which of the files that
it names are not in the pod.
"""

import contextlib
import functools
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate import utils

from oidcgate.cli.main import main
from oidcgate.cli.secret import new_key
from oidcgate.config.load import PATH_KEYS
from tests.deploy import crds
from tests.lab.kube.authority import Authority

CONFIG = "config.yaml"  # the key of a ConfigMap, and the file's name
IN_URL = re.compile(r"(?:sqlite:|[?&](?:sentinel_)?(\w+_file)=)(/[^?&]+)")
Document = dict[str, Any]


class Strict(yaml.CSafeLoader):
    """Refuses keys that are written twice, which YAML itself loses in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML calls it."""
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"written twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(text: str) -> list[Document]:
    """
    The objects in a stream of YAML; empty documents are skipped, lists are unfolded.

    Raises:
        yaml.YAMLError: it is none, or a key is written twice.
    """
    found = [each for each in yaml.load_all(text, Loader=Strict) if each]
    return [item for each in found for item in (each["items"] if each["kind"] == "List" else [each])]


def named(documents: list[Document], kind: str, name: str | None = None) -> Document:
    """The one object of a kind (and a name)."""
    found = [each for each in documents if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, [(each["kind"], each["metadata"]["name"]) for each in documents]
    return found[0]


# Kubernetes' schemas.


@functools.cache
def _contents(filename: str, desired_version: str) -> Any:
    return UNCACHED(filename, desired_version)


UNCACHED = utils.schema_contents


def validate(documents: list[Document]) -> None:
    """
    Hold each document to the newest schemas of Kubernetes, or its custom resource's; unknown fields are refused.

    Raises:
        AssertionError: names each document that is not valid, with the place and what is wrong.
    """
    with mock.patch.object(utils, "schema_contents", _contents):  # reading 2 MB anew for each takes most of the time
        wrong = [problem for document in documents for problem in _problems(document)]
    if wrong:
        raise AssertionError("\n".join(wrong))


def _problems(document: Document) -> Iterator[str]:
    where = f"{document['kind']}/{document['metadata']['name']}"
    custom = crds.schemas().get((document["apiVersion"], document["kind"]))
    if custom is not None:
        for error in Draft202012Validator(custom).iter_errors(document):
            yield f"{where}: {error.json_path}: {error.message}"
        return
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {error.json_path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield f"{where}: {error.message}"


# The gate's configuration.


def gate_configs(documents: list[Document]) -> dict[str, str]:
    """The text of each of the gate's configurations, by the name of the ConfigMap that holds it."""
    maps = [each for each in documents if each["kind"] == "ConfigMap" and CONFIG in each.get("data", {})]
    return {each["metadata"]["name"]: each["data"][CONFIG] for each in maps}


def named_files(text: str) -> dict[str, str]:
    """The absolute paths in a configuration, and the key that names each, such as ``keys_file``."""
    return dict(_files(yaml.safe_load(text)))


def _files(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _files(item)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if isinstance(value, str) and value.startswith("/") and (key in PATH_KEYS or key.endswith("_file")):
            yield value, key
        elif key == "store" and isinstance(value, str):
            yield from ((path, name or "store") for name, path in IN_URL.findall(value))
        else:
            yield from _files(value)


def check(config_text: str, tmp_path: Path) -> str:
    """
    What the real `oidcgate check` says of a configuration, the files that it names being there.

    Every absolute path is moved below ``tmp_path``; secrets, keys, certificates and folders get contents that are valid,
    and variables that hold secrets are set.

    Raises:
        AssertionError: it is not good; quotes every problem.
    """
    files = named_files(config_text)
    moved = _moved(config_text, files, tmp_path)
    for path, key in files.items():
        _fill(tmp_path / path.lstrip("/"), key, tmp_path)
    config = tmp_path / "etc" / "oidcgate" / CONFIG
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(moved)
    variables = {name: "dummy" for name in re.findall(r"(?:secret|password)_env[:=]\s*[\"']?(\w+)", config_text)}
    said, wrong = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, variables), contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        code = main(["check", "--config", str(config)])
    assert code == 0, wrong.getvalue() + said.getvalue()
    return said.getvalue()


def _moved(text: str, files: dict[str, str], root: Path) -> str:
    if not files:
        return text
    longest_first = sorted(files, key=len, reverse=True)
    pattern = re.compile("|".join(rf"{re.escape(path)}(?![\w./-])" for path in longest_first))
    return pattern.sub(lambda found: f"{root}{found[0]}", text)


def _fill(path: Path, key: str, tmp_path: Path) -> None:
    """Valid contents for a file that a key names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if key == "state_dir":
        path.mkdir(exist_ok=True)
    elif key not in ("store", "file"):  # made by the gate
        path.touch(0o600)
        path.write_text(_contents_for(key, _authority(tmp_path)))


def _contents_for(key: str, authority: Authority) -> str:
    made = {
        "keys_file": lambda: new_key() + "\n",
        "ca_file": lambda: authority.pem,
        "cert_file": lambda: authority.issue("gate")[0].read_text(),
        "key_file": lambda: (authority.folder / "gate.key").read_text(),
        "logo_file": lambda: '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
    }
    return made.get(key, lambda: "dummy-secret")()


_AUTHORITIES: dict[Path, Authority] = {}


def _authority(folder: Path) -> Authority:
    """One for all certificates of a check, since a certificate and its key must fit."""
    if folder not in _AUTHORITIES:
        _AUTHORITIES[folder] = Authority(folder)
    return _AUTHORITIES[folder]


# The pod.


def unmounted(config_text: str, pod: Document, documents: list[Document], container: str = "oidcgate") -> list[str]:
    """
    The files that a configuration names and that a pod's container does not have, by what the documents say.

    Args:
        pod: a pod's ``spec``.
        documents: those among which ConfigMaps and Secrets are looked up; what is elsewhere is believed.
    """
    mounts = next(each["volumeMounts"] for each in pod["containers"] if each["name"] == container)
    volumes = {each["name"]: each for each in pod["volumes"]}
    return [path for path in named_files(config_text) if not _is_there(path, mounts, volumes, documents)]


def _is_there(path: str, mounts: list[Document], volumes: dict[str, Document], documents: list[Document]) -> bool:
    around = [m for m in mounts if path == m["mountPath"] or path.startswith(m["mountPath"] + "/")]
    if not around:
        return False
    mount = max(around, key=lambda each: len(each["mountPath"]))
    volume = volumes[mount["name"]]
    sources = volume["projected"]["sources"] if "projected" in volume else [volume]
    rest = path.removeprefix(mount["mountPath"]).lstrip("/")
    if "subPath" in mount:
        rest = "/".join(filter(None, (mount["subPath"], rest)))
    return any(_holds(source, rest, documents) for source in sources)


def _holds(source: Document, path: str, documents: list[Document]) -> bool:
    kind = next((kind for kind in ("secret", "configMap") if kind in source), None)
    if kind is None:
        return True  # a claim, an empty directory, a token: what is in it is not said
    spec = source[kind]
    if "items" in spec:
        return path in [item["path"] for item in spec["items"]]
    name = spec.get("name") or spec.get("secretName")
    found = [d for d in documents if d["kind"].lower() == kind.lower() and d["metadata"]["name"] == name]
    return not found or path in {**found[0].get("data", {}), **found[0].get("stringData", {})}


def as_stream(documents: list[Document]) -> str:
    """The documents as one stream, which kubectl takes."""
    return "\n---\n".join(json.dumps(each) for each in documents)
