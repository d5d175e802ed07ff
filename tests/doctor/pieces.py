"""A scene without servers, and replies, for tables."""

from pathlib import Path
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from oidcgate.config.load import parse_config
from oidcgate.doctor.calls import Caller, Seen
from oidcgate.doctor.scene import Issuer, Scene, make_scene
from oidcgate.oidc.claims import Claims
from oidcgate.oidc.metadata import Metadata
from tests.support.stack import merged

ISSUER = "https://dex.example.com"
SITE: dict[str, Any] = {"url": "https://ui.example.com", "upstream": {"url": "https://ui.internal"}}
DOCUMENT: dict[str, Any] = {
    "provider": {"issuer": ISSUER, "client_id": "gate"},
    "session": {"store": "memory"},
    "sites": [SITE],
}


def scene_of(change: dict[str, Any] | None = None, *, site: str | None = None, **options: Any) -> Scene:
    """A scene of a configuration with parts replaced."""
    config = parse_config(merged(DOCUMENT, change or {}), folder=Path("/"), files=False)
    return make_scene(config, Caller(), site=site, **options)


def seen(status: int = 200, body: bytes | str = b"", **headers: str) -> Seen:
    """A reply."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body.encode() if isinstance(body, str) else body
    return Seen(status, CIMultiDictProxy(CIMultiDict(named)), data)


def issuer_of(change: dict[str, Any] | None = None, **metadata: Any) -> Issuer:
    """An issuer that has been discovered."""
    issuer = scene_of(change).issuers[0]
    known: dict[str, Any] = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/auth",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/keys",
        "code_challenge_methods": ("S256",),
    }
    issuer.metadata = Metadata(**(known | metadata))
    return issuer


def claims_of(**change: Any) -> Claims:
    """What a token says."""
    good: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": "sub",
        "audience": ("gate",),
        "expires": 2000.0,
        "issued_at": 1000.0,
        "email": "alice@example.com",
        "email_verified": True,
        "groups": ("ops",),
    }
    return Claims(**(good | change))


class Answering(Caller):
    """Answers in turn, or raises what it is given."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    async def call(self, url: str, *_: Any, data: bytes | None = None, **__: Any) -> Any:
        """The next answer."""
        self.asked.append((url, data or b""))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reach(self, url: str, *_: Any) -> Any:
        """The same."""
        return await self.call(url)

    async def resolve(self, host: str, *_: Any) -> Any:
        """The same."""
        return await self.call(host)
