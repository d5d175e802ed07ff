"""
The page for those whom the cluster's API server does not take, and what it says of each thing that does not fit.

Edge: aiohttp responses.
"""

from collections.abc import Sequence
from html import escape

from aiohttp import web

from oidcgate.kube.diagnosis import Finding
from oidcgate.kube.who import Who
from oidcgate.web import answers, texts
from oidcgate.web.facts import Inbound
from oidcgate.web.pages import Action, Page, Sign, preformatted


def misfit(inbound: Inbound, who: Who, prefix: str, request_id: str) -> web.Response:
    """403: why the API server does not take somebody, and which setting to change."""
    heading, sentence = texts.MISFIT
    unsure = "" if all(finding.certain for finding in who.findings) else f"<p>{escape(texts.MISFIT_UNSURE)}</p>"
    actions = (
        Action(texts.TRY_AGAIN, inbound.target if inbound.target.startswith("/") else "/"),
        Action(texts.ACCESS[0], f"{prefix}/access", quiet=True),
        Action(texts.SOMEBODY_ELSE, f"{prefix}/sign_out", quiet=True),
    )
    body = unsure + findings_of(who.findings)
    page = Page(heading, sentence, actions=actions, body=body, sign=Sign.TROUBLE, wide=True)
    return answers.finished(inbound, page.response(403), request_id)


def findings_of(findings: Sequence[Finding]) -> str:
    """What does not fit, each with the setting to change."""
    return "".join(_finding(finding) for finding in findings)


def _finding(finding: Finding) -> str:
    part = finding.part.value
    parts = [f"<h2>{escape(part[:1].upper() + part[1:])}</h2><p>{escape(finding.sentence)}</p>"]
    if finding.setting:
        where = texts.SETTING_IN.format(finding.where)
        parts.append(f"<p>{escape(where)}</p>{preformatted(finding.setting, f'{part}: {where}')}")
    if finding.flags:
        parts.append(
            f"<p>{escape(texts.SETTING_FLAG)}</p>{preformatted(finding.flags, f'{part}: {texts.SETTING_FLAG}')}"
        )
    return "".join(parts)
