"""
`oidcgate credential`: kubectl's credential plugin.

Standard output is kubectl's: it gets the ExecCredential, and nothing else ever.
"""

import argparse
import base64
import binascii
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oidcgate.kubectl.account import (
    DEFAULT_ALGORITHMS,
    DEFAULT_SCOPES,
    DEFAULT_TOKEN_LIFE,
    Account,
    CredentialError,
)
from oidcgate.kubectl.cache import Cache, cache_folder, open_ring
from oidcgate.kubectl.exec_credential import check_exec_info
from oidcgate.kubectl.plugin import Plugin
from oidcgate.oidc.metadata import is_loopback

if TYPE_CHECKING:
    from aiohttp import web

    from oidcgate.kubectl.signin import SignIn


def credential(options: argparse.Namespace) -> int:
    """
    Do it: 0 when it is done, 1 when not, or when nobody is signed in.

    Raises:
        CredentialError: it cannot be done.
    """
    with redirect_stdout(sys.stderr), _account(options) as account:  # a key ring's back end may well print
        plugin = _plugin(options, account)
        try:
            if options.what == "get":
                check_exec_info(os.environ.get("KUBERNETES_EXEC_INFO"))
                answer, code = plugin.get(), 0
            elif options.what == "logout":
                say(plugin.logout())
                return 0
            else:
                found = plugin.status()
                answer, code = found.text, 0 if found.is_signed_in else 1
        except KeyboardInterrupt:
            raise CredentialError("the sign-in was interrupted") from None
    print(answer, flush=True)
    return code


def say(sentence: str) -> None:
    """Tell the person."""
    print(sentence, file=sys.stderr, flush=True)


def _plugin(options: argparse.Namespace, account: Account) -> Plugin:
    cache = Cache(cache_folder(os.environ, Path.home()), account.name, ring=open_ring())

    def sign_in() -> "SignIn":
        from oidcgate.kubectl.signin import SignIn, Ways

        ways = Ways(
            device=options.device,
            opens=not options.no_browser,
            command=options.browser_command,
            port=options.redirect_port,
            limit=options.timeout,
        )
        return SignIn(account, cache, ways, page=page, say=say)

    return Plugin(account, cache, sign_in=sign_in, say=say)


def page(heading: str, sentence: str, status: int) -> "web.Response":
    """A page as the gate's own are."""
    from oidcgate.web.pages import Frame, Page, Sign, own_headers

    sign = Sign.DONE if status < 400 else None
    response = Page(heading, sentence, sign=sign).response(status).dress(Frame())
    own_headers(response, secure=False)
    return response


@contextmanager
def _account(options: argparse.Namespace) -> Iterator[Account]:
    """
    What the options say; an authority that is given in place is a file meanwhile.

    Raises:
        CredentialError: the issuer's address, or the authority, cannot be used.
    """
    _check_issuer(options.issuer)
    account = Account(
        issuer=options.issuer,
        client_id=options.client_id,
        audience=options.audience,
        scopes=tuple(options.scope or DEFAULT_SCOPES),
        ca_file=options.ca_file,
        endpoint_hosts=tuple(options.endpoint_host),
        algorithms=tuple(options.algorithm or DEFAULT_ALGORITHMS),
        max_token_life=options.max_token_life or DEFAULT_TOKEN_LIFE,
    )
    if options.ca_data is None:
        yield account
        return
    with tempfile.NamedTemporaryFile(prefix="oidcgate-ca-", suffix=".pem") as file:
        try:
            file.write(base64.b64decode(options.ca_data, validate=True))
        except binascii.Error:
            raise CredentialError("--ca-data is not base64; ask for a new kubeconfig") from None
        file.flush()
        yield replace(account, ca_file=file.name)


def _check_issuer(url: str) -> None:
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.hostname or ""
    except ValueError:
        scheme, host = "", ""
    if not host or (scheme != "https" and not (scheme == "http" and is_loopback(host))):
        raise CredentialError(f"--issuer {url[:200]!r} must begin with https:// (or http:// on this machine)")
