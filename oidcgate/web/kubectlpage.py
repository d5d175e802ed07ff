"""
``/kubectl``: how to use kubectl with the account that one is signed in with, to be copied and pasted.

Edge: aiohttp responses, and the files of two authorities. Rules of this file:
- The page is for those who are signed in: it names the cluster's API server.
- What it shows holds no secret, and is what `oidcgate kubeconfig` prints.
"""

import asyncio
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from oidcgate.config.model import Config
from oidcgate.errors import ConfigError, Problem
from oidcgate.kubectl.kubeconfig import INSTALL, make_setup, render
from oidcgate.web import texts
from oidcgate.web.facts import Inbound
from oidcgate.web.pages import Action, Page, preformatted, redirect

FILE = "~/.kube/oidcgate-{}.yaml"


class KubectlPage:
    """Shows the set-up of each site."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._prefix = config.prefix
        self._indices = {site.url: index for index, site in enumerate(config.sites)}

    async def show(self, inbound: Inbound) -> web.Response:
        """GET: the page."""
        site = inbound.facts.site
        if inbound.live is None:
            return redirect(f"{site.origin}{self._prefix}/start?rd={quote(inbound.target, safe='')}")
        index = self._indices[site.config.url]
        try:
            setup = make_setup(self._config, index, name=site.authority)
        except ConfigError as error:
            return self._page(_missing(error.problems))
        try:
            ca, issuer_ca = await asyncio.to_thread(lambda: (_read(setup.ca_file), _read(setup.issuer_ca_file)))
        except OSError:
            return self._page(f"<p>{escape(texts.KUBECTL_UNREADABLE)}</p>")
        return self._page(_steps(site.authority, render(setup, ca=ca, issuer_ca=issuer_ca)))

    def _page(self, body: str) -> web.Response:
        actions = (Action(texts.OPEN, "/"), Action(texts.SESSION_PAGE[0], f"{self._prefix}/session", quiet=True))
        return Page(*texts.KUBECTL, actions=actions, body=body, wide=True).response()


def _read(file: str | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _steps(authority: str, kubeconfig: str) -> str:
    file = FILE.format(authority.replace(":", "-"))
    steps = (
        (texts.KUBECTL_INSTALL, INSTALL),
        (texts.KUBECTL_SAVE.format(file), kubeconfig),
        (texts.KUBECTL_TRY, f"kubectl --kubeconfig {file} auth whoami"),
    )
    shown = "".join(f"<h2>{escape(heading)}</h2>{preformatted(text, heading)}" for heading, text in steps)
    notes = (texts.KUBECTL_FREELY, texts.KUBECTL_ELSEWHERE)
    return shown + "".join(f"<p>{escape(note)}</p>" for note in notes)


def _missing(problems: Sequence[Problem]) -> str:
    keys = "".join(f"<li>{escape(problem.path)}: {escape(problem.message)}</li>" for problem in problems)
    return f"<p>{escape(texts.KUBECTL_MISSING)}</p><ul>{keys}</ul>"
