"""
Addresses to listen on, whom to believe, where a login may lead back to, and the log.

Pure.
"""

import ipaddress

from oidcgate.config.addresses import parse_listen
from oidcgate.config.model import checked_return_host
from oidcgate.config.rules import EVERYBODY
from oidcgate.imports.work import Work

DEFAULT_HTTP, DEFAULT_HTTPS = "127.0.0.1:4180", ":443"
NOBODY_PEER = "127.0.0.1/32"


def map_listeners(work: Work, *, carried: bool) -> None:
    """
    Everything around the sites.

    Args:
        carried: another proxy carries the requests and asks the gate.
    """
    _listen(work)
    _metrics(work)
    networks = _trusted(work)
    if carried:
        _peers(work, networks)
    _return_hosts(work)
    given = work.known("request-logging")
    if given is not None:
        work.draft.put("log.access", given.is_on)
        work.taken("request-logging")


def _listen(work: Work) -> None:
    cert, key = work.settings.text("tls-cert-file"), work.settings.text("tls-key-file")
    for name in ("tls-cert-file", "tls-key-file"):
        if work.known(name) is not None and cert and key:
            work.taken(name)
        else:
            work.differs(name, "a certificate and its key go together; set tls by hand")
    used, unused = ("https-address", "http-address") if cert and key else ("http-address", "https-address")
    given = work.known(used)
    address = _address(given.text) if given is not None else DEFAULT_HTTPS if cert and key else DEFAULT_HTTP
    if address:
        work.draft.put("listen", [address])
        work.taken(used)
    else:
        work.draft.put("listen", [DEFAULT_HTTP], fill_in="where to listen")
        work.differs(used, "is no host:port and no unix: path; set listen by hand")
    why = "tls is for every listener" if cert and key else "has no effect without a certificate"
    work.none(unused, f"{why}; the proxy before the gate redirects http" if cert and key else why)
    if cert and key:
        work.draft.put("tls", {"cert_file": cert, "key_file": key})


def _address(text: str) -> str:
    """Our way to write a listener; empty for what there is not."""
    plain = text.split("://", 1)[1] if text.lower().startswith(("http://", "https://")) else text
    plain = f"unix:{plain[7:].partition(',')[0]}" if plain.lower().startswith("unix://") else plain
    if plain.lower().startswith("fd:"):
        return ""  # a descriptor that a service manager hands over
    try:
        parse_listen(plain)
    except ValueError:
        return ""
    return plain


def _metrics(work: Work) -> None:
    given = work.known("metrics-address")
    address = _address(given.text) if given is not None else ""
    if address:
        work.draft.put("admin.listen", address)
        work.taken("metrics-address", "admin.listen; /livez and /readyz are there too")
    else:
        work.differs("metrics-address", "no address; admin.listen stays 127.0.0.1:8081")


def _trusted(work: Work) -> list[str]:
    networks: list[str] = []
    wrong: list[str] = []
    for text in work.settings.values("trusted-proxy-ip"):
        try:
            network = str(ipaddress.ip_network(text, strict=False))
        except ValueError:
            network = EVERYBODY[0]
        (wrong if network in EVERYBODY else networks).append(text if network in EVERYBODY else network)
    work.known("trusted-proxy-ip")
    if not work.settings.is_on("reverse-proxy"):
        work.none("trusted-proxy-ip", "has no effect without --reverse-proxy")
        work.none("real-client-ip-header", "has no effect without --reverse-proxy")
        work.known("reverse-proxy")
        return []
    for text in wrong:
        work.safer("trusted-proxy-ip", f"{text} is no network of yours; it would let anybody claim any address")
    if networks:
        work.draft.put("trusted_proxies", networks)
        work.taken("trusted-proxy-ip")
        work.taken("reverse-proxy", "trusted_proxies: X-Forwarded-* is believed from these alone")
    else:
        work.draft.put("trusted_proxies", [], fill_in="networks of the proxies before the gate, such as 10.0.0.0/8")
        work.safer(
            "reverse-proxy",
            "X-Forwarded-* is believed from nobody until trusted_proxies names the proxies before the gate",
        )
    work.differs("real-client-ip-header", "the client's address comes from X-Forwarded-For, read from the right")
    return networks


def _peers(work: Work, networks: list[str]) -> None:
    text = "networks of the proxies that ask the gate; they alone are given tokens"
    if networks:
        work.draft.put("forward_auth.peers", networks, comment=f"{text}; taken from --trusted-proxy-ip")
        work.report_differs(
            f"forward_auth.peers, {text}, are those of --trusted-proxy-ip; oauth2-proxy answers anybody"
        )
    else:
        work.draft.put("forward_auth.peers", [NOBODY_PEER], fill_in=f"{text}, such as 10.0.0.0/8; this entry stands in")
        work.report_differs(
            f"forward_auth.peers: fill in the {text}; {NOBODY_PEER} stands in. oauth2-proxy answers anybody"
        )


def _return_hosts(work: Work) -> None:
    work.known("whitelist-domain")
    hosts = []
    for text in work.settings.values("whitelist-domain"):
        host, colon, port = text.lower().removeprefix("*").rpartition(":")
        host = host if colon and (port.isdigit() or port == "*") else text.lower().removeprefix("*")
        try:
            hosts.append(checked_return_host(host))
        except ValueError:
            work.safer(
                "whitelist-domain", f"{text} is no host and no domain; a login leads back to hosts that are named"
            )
            continue
        if host != text.lower().removeprefix("*"):
            work.differs(
                "whitelist-domain", f"{text}: the port is dropped; a login leads back to https on its own port"
            )
        else:
            work.taken("whitelist-domain", f"forward_auth.return_hosts: {host}")
    if hosts:
        work.draft.put("forward_auth.return_hosts", list(dict.fromkeys(hosts)))
