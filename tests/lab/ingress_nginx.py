"""
What ingress-nginx makes of Ingress objects, as far as asking the gate goes: its configuration for plain nginx.

Pure. Written after the controller's template (rootfs/etc/nginx/template/nginx.tmpl) with the defaults of v1.15.1, in
our own words; what its Lua does (finding a backend, metrics) is left out. ``set_escape_uri`` comes from the module that
the controller has, too: Debian's libnginx-mod-http-set-misc.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

PREFIX = "nginx.ingress.kubernetes.io/"
MODULES = ("ndk_http_module.so", "ngx_http_set_misc_module.so")
MODULE_FOLDER = "/usr/lib/nginx/modules"

HTTP = """
    client_header_buffer_size 1k;
    large_client_header_buffers 4 8k;
    underscores_in_headers off;
    ignore_invalid_headers on;
    map $http_upgrade $connection_upgrade {
        default upgrade;
        '' '';
    }
    map $http_x_request_id $req_id {
        default $http_x_request_id;
        '' $request_id;
    }
"""
QUESTION = """
        location = %(name)s {
            internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Forwarded-Proto "";
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header Host %(host)s;
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Sent-From "nginx-ingress-controller";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Auth-Request-Redirect $request_uri;
            proxy_buffering %(buffering)s;
            proxy_buffer_size %(size)s;
            proxy_buffers %(number)s %(size)s;
            proxy_request_buffering %(request_buffering)s;
            proxy_ssl_server_name on;
            proxy_pass_request_headers on;
            client_max_body_size %(body)s;
            proxy_http_version 1.1;
            set $target %(url)s;
            proxy_pass $target;
        }
        location %(signin_name)s {
            internal;
            add_header Set-Cookie $auth_cookie;
            return 302 %(signin)s;
        }
"""
LOCATION = """
        location %(path)s {
            set $pass_access_scheme $scheme;
            set $best_http_host $http_host;
            %(access)s
            client_max_body_size %(body)s;
            proxy_set_header Host $best_http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $best_http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $pass_access_scheme;
            proxy_set_header X-Forwarded-Scheme $pass_access_scheme;
            proxy_set_header X-Scheme $pass_access_scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header Proxy "";
            proxy_connect_timeout 5s;
            proxy_send_timeout %(send)ss;
            proxy_read_timeout %(read)ss;
            proxy_buffering %(buffering)s;
            proxy_buffer_size %(size)s;
            proxy_buffers %(number)s %(size)s;
            proxy_max_temp_file_size 1024m;
            proxy_request_buffering %(request_buffering)s;
            proxy_http_version 1.1;
            proxy_cookie_domain off;
            proxy_cookie_path off;
            proxy_next_upstream error timeout;
            proxy_pass %(scheme)s://%(backend)s;
            proxy_redirect off;
        }
"""


def http_block(ingresses: list[dict[str, Any]], services: Mapping[str, str], listen: str) -> str:
    """
    What stands in ``http{}``.

    Args:
        ingresses: the objects; all are for one host.
        services: address of each Service, by name.
        listen: where the controller listens.
    """
    host = ingresses[0]["spec"]["rules"][0]["host"]
    locations = [text for ingress in ingresses for text in _ingress(ingress, services)]
    server = f"    server {{\n        listen {listen};\n        server_name {host};\n{''.join(locations)}    }}\n"
    return HTTP + server


def _ingress(ingress: dict[str, Any], services: Mapping[str, str]) -> Iterator[str]:
    annotations = {
        name.removeprefix(PREFIX): str(value) for name, value in ingress["metadata"].get("annotations", {}).items()
    }
    for rule in ingress["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            yield from _path(path, annotations, services)


def _path(path: dict[str, Any], annotations: Mapping[str, str], services: Mapping[str, str]) -> Iterator[str]:
    values = _values(annotations)
    name = "".join(c for c in path["path"] if c.isalnum()) or "root"
    access = _denied(annotations)
    if "auth-url" in annotations:
        names = {"name": f"/_external-auth-{name}", "signin_name": f"@signin-{name}"}
        yield QUESTION % {
            **values,
            **names,
            "host": urlsplit(annotations["auth-url"]).netloc,
            "url": annotations["auth-url"],
            "signin": _signin(annotations["auth-signin"]),
        }
        access += _asking(annotations, names)
    values["access"] = "\n            ".join(access)
    values["backend"] = services[path["backend"]["service"]["name"]]
    for place in _places(path):
        yield LOCATION % {**values, "path": place}


def _values(annotations: Mapping[str, str]) -> dict[str, str]:
    """Annotations over the controller's defaults."""
    return {
        "size": annotations.get("proxy-buffer-size", "4k"),
        "number": annotations.get("proxy-buffers-number", "4"),
        "buffering": annotations.get("proxy-buffering", "off"),
        "request_buffering": annotations.get("proxy-request-buffering", "on"),
        "body": annotations.get("proxy-body-size", "1m"),
        "send": annotations.get("proxy-send-timeout", "60"),
        "read": annotations.get("proxy-read-timeout", "60"),
        "scheme": annotations.get("backend-protocol", "HTTP").lower(),
    }


def _denied(annotations: Mapping[str, str]) -> list[str]:
    networks = annotations.get("denylist-source-range", "")
    return [f"deny {network.strip()};" for network in networks.split(",") if network.strip()]


def _asking(annotations: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    lines = [
        f"auth_request {names['name']};",
        "auth_request_set $auth_cookie $upstream_http_set_cookie;",
        "add_header Set-Cookie $auth_cookie;",
    ]
    listed = annotations.get("auth-response-headers", "")
    for number, header in enumerate(filter(None, (part.strip() for part in listed.split(",")))):
        variable = f"$upstream_http_{header.lower().replace('-', '_')}"
        lines += [
            f"auth_request_set $authHeader{number} {variable};",
            f"proxy_set_header '{header}' $authHeader{number};",
        ]
    return [
        *lines,
        "set_escape_uri $escaped_request_uri $request_uri;",
        f"error_page 401 = {names['signin_name']};",
    ]


def _signin(url: str) -> str:
    """The controller appends where the person was going, unless the address says it already."""
    query = urlsplit(url).query
    if parse_qs(query).get("rd"):
        return url
    return f"{url}{'&' if query else '?'}rd=$pass_access_scheme://$http_host$escaped_request_uri"


def _places(path: dict[str, Any]) -> list[str]:
    text = path["path"]
    if path["pathType"] == "Exact":
        return [f"= {text}"]
    return [text] if text == "/" else [f"{text.rstrip('/')}/", f"= {text.rstrip('/')}"]
