"""
The alpha configuration, said in flags.

Pure. What flags cannot say (a rewritten path, a header of another name) is told at once.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from oidcgate.imports.alpha_keys import HEADERS, IGNORED, PROVIDER, SERVER, UPSTREAM, WITHOUT_FLAG
from oidcgate.imports.flags import FLAGS, VERSION
from oidcgate.imports.report import Part, Report
from oidcgate.imports.settings import Given

ALPHA = ("upstreamConfig", "injectRequestHeaders", "injectResponseHeaders", "server", "metricsServer", "providers")
COVERED = {
    *PROVIDER.values(),
    *SERVER.values(),
    *UPSTREAM.values(),
    *HEADERS.values(),
    *("upstream", "google-group", "set-basic-auth", "pass-basic-auth", "basic-auth-password", "prefer-email-to-user"),
    *("user-id-claim", "acr-values", "prompt", "approval-prompt", "force-code-challenge-method"),
    *("skip-auth-strip-headers", "metrics-address", "metrics-secure-address"),
    *("metrics-tls-cert-file", "metrics-tls-key-file"),
}
ADDRESS = ("path", "rewriteTarget", "uri", "static")  # what _address has seen
QUIET = (False, [{"name": "approval_prompt", "default": ["force"]}])  # what the conversion to alpha writes anyway
REFERENCE = re.compile(r"\$\$|\$\{(\w+)(?::?-([^}]*))?\}|\$([A-Za-z_]\w*)")
Found = dict[str, Given]


def substituted(node: Any, variables: Mapping[str, str]) -> Any:
    """The tree with variables replaced in its texts; unknown ones stay as they are written."""
    if isinstance(node, dict):
        return {key: substituted(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [substituted(item, variables) for item in node]
    return REFERENCE.sub(lambda match: _value(match, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    known = variables.get(match[1] or match[3])
    return known if known is not None else match[2] if match[2] is not None else match[0]


def read_alpha(document: dict[Any, Any], report: Report) -> Found:
    """Flags that say the same."""
    found: Found = {}
    for key, value in document.items():
        match key:
            case "providers" if isinstance(value, list):
                _providers(value, found, report)
            case "upstreamConfig" if isinstance(value, dict):
                _upstreams(value, found, report)
            case "injectRequestHeaders" | "injectResponseHeaders" if isinstance(value, list):
                _headers(str(key), value, found, report)
            case "server" | "metricsServer" if isinstance(value, dict):
                _server(str(key), value, found, report)
            case _ if value:
                report.add(Part.NONE, str(key), f"no key of oauth2-proxy {VERSION}'s alpha configuration")
    return found


def _set(found: Found, name: str, spelled: str, value: Any) -> None:
    texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in _listed(value)]
    found[name] = Given(FLAGS[name], spelled, tuple(texts), is_known=not any(map(_is_open, texts)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_open(text: str) -> bool:
    """Whether a variable is left in it."""
    return re.search(r"\$\{\w+", text) is not None


def _flat(node: dict[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        elif value not in (None, "", []) and not (path + str(key) in WITHOUT_FLAG and value in QUIET):
            yield f"{path}{key}", value


def _providers(providers: list[Any], found: Found, report: Report) -> None:
    for index, provider in enumerate(providers):
        if index or not isinstance(provider, dict):
            report.add(Part.NONE, f"providers[{index}]", "oauth2-proxy uses the first one only, as does this import")
            continue
        _keys("providers[0]", provider, PROVIDER, found, report)


def _keys(where: str, node: dict[Any, Any], table: Mapping[str, str], found: Found, report: Report) -> None:
    for path, value in _flat(node):
        spelled = f"{where}.{path}"
        if path in table:
            _set(found, table[path], spelled, value)
        elif path in WITHOUT_FLAG:
            report.add(Part.NONE, spelled, WITHOUT_FLAG[path])
        elif path not in IGNORED:
            report.add(Part.NONE, spelled, f"no key of oauth2-proxy {VERSION}'s alpha configuration")


def _server(where: str, server: dict[Any, Any], found: Found, report: Report) -> None:
    prefix = "" if where == "server" else "metrics."
    ours = {path: name for path, name in SERVER.items() if path.startswith("metrics.") == bool(prefix)}
    wanted = {path.removeprefix("metrics."): name for path, name in ours.items()}
    kept = {key: "" if value == "-" else value for key, value in server.items()}
    _keys(where, kept, wanted, found, report)


def _upstreams(config: dict[Any, Any], found: Found, report: Report) -> None:
    addresses: list[str] = []
    upstreams = [each for each in _listed(config.get("upstreams") or []) if isinstance(each, dict)]
    chosen = next((each for each in upstreams if each.get("path") == "/"), next(iter(upstreams), None))
    if config.get("proxyRawPath"):
        report.add(Part.TAKEN, "upstreamConfig.proxyRawPath", "always so: paths pass as they came")
    for index, upstream in enumerate(upstreams):
        where = f"upstreamConfig.upstreams[{index}]"
        addresses.append(_address(upstream))
        if upstream.get("rewriteTarget"):
            report.add(Part.NONE, f"{where}.rewriteTarget", "paths pass as they come; the proxy before may rewrite")
        if upstream is chosen:
            _keys(where, {k: v for k, v in upstream.items() if k not in ADDRESS}, UPSTREAM, found, report)
    if addresses:
        _set(found, "upstream", "upstreamConfig.upstreams", addresses)


def _address(upstream: dict[Any, Any]) -> str:
    """An upstream as the flag has it: the path that it answers for, at the address that it is at."""
    if upstream.get("static"):
        return f"static://{upstream.get('staticCode', 200)}"
    uri, path = str(upstream.get("uri", "")), str(upstream.get("path", "/"))
    origin = re.match(r"https?://[^/?#]+", uri)
    return origin[0] + (path if path.startswith("/") else f"/{path}") if origin else uri


def _headers(where: str, headers: list[Any], found: Found, report: Report) -> None:
    for index, header in enumerate(headers):
        spelled = f"{where}[{index}]"
        name = str(header.get("name", "")) if isinstance(header, dict) else ""
        values = _listed(header.get("values") or []) if isinstance(header, dict) else []
        claims = [_claim(value) for value in values]
        flag = next((HEADERS[key] for claim in claims if (key := (where, name.lower(), claim)) in HEADERS), None)
        if flag is not None:
            _set(found, flag, f"{where} {name}" if flag not in found else found[flag].spelled, "true")
        else:
            text = "there are fixed headers only, see forward_auth.headers and sites[].identity"
            report.add(Part.NONE, f"{spelled} {name}".strip(), text)


def _claim(value: Any) -> str:
    """The claim that a value comes from; nothing for secrets and for passwords made of one."""
    source = value.get("claimSource", value) if isinstance(value, dict) else {}
    return "" if not isinstance(source, dict) or source.get("basicAuthPassword") else str(source.get("claim", ""))
