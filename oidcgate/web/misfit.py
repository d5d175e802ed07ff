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
from oidcgate.web.pages import Action, document_response


def misfit(inbound: Inbound, who: Who, prefix: str, request_id: str) -> web.Response:
    """403: why the API server does not take somebody, and which setting to change."""
    heading, sentence = texts.MISFIT
    unsure = "" if all(finding.certain for finding in who.findings) else f"<p>{escape(texts.MISFIT_UNSURE)}</p>"
    actions = action_row(
        Action(texts.TRY_AGAIN, inbound.target if inbound.target.startswith("/") else "/"),
        Action(texts.ACCESS[0], f"{prefix}/access", quiet=True),
        Action(texts.SOMEBODY_ELSE, f"{prefix}/sign_out", quiet=True),
    )
    body = (
        f"<h1>{escape(heading)}</h1><p>{escape(sentence)}</p>{unsure}{findings_of(who.findings)}{actions}"
        f"<small>{escape(answers.note(request_id))}</small>"
    )
    return answers.finished(inbound, document_response(heading, body, 403))


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


def preformatted(text: str, label: str) -> str:
    """A text to copy; whoever has no mouse can scroll it."""
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}">{escape(text)}</pre>'


def action_row(*actions: Action) -> str:
    return f'<div class="actions">{"".join(action.html() for action in actions)}</div>'
