"""
``/logo``: the picture beside the name on the gate's pages.

Edge: aiohttp responses. Rules of this file:
- It is a picture and never a document: opened by itself, an SVG runs nothing, loads nothing and has no origin.
- It is for everybody, since people who are not signed in see it too; its address changes with its content.
"""

from aiohttp import web

from oidcgate.web import texts
from oidcgate.web.facts import Inbound
from oidcgate.web.look import Look
from oidcgate.web.pages import json_response

POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
FOR_EVER = "public, max-age=31536000, immutable"  # RFC 9111 §5.2.2.1, RFC 8246 §2
MEANWHILE = "public, max-age=300"  # of an address that is not this content's alone


async def show_logo(inbound: Inbound) -> web.Response:
    """GET: the configured logo."""
    look = inbound.facts.site.look
    if look.logo is None:
        return json_response(404, {"error": "not_found", "message": texts.NOT_FOUND[1]})
    tag = f'"{look.tag}"'
    known = inbound.request.headers.get("If-None-Match", "")
    if tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        response = web.Response(status=304)
    else:
        response = web.Response(body=look.logo.data, content_type=look.logo.media_type)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = _freshness(look, inbound.target)
    response.headers["ETag"] = tag
    return response


def _freshness(look: Look, target: str) -> str:
    return FOR_EVER if target.partition("?")[2] == f"v={look.tag}" else MEANWHILE
