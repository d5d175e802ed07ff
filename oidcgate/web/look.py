"""
Whose pages these are: a name, a logo and a colour, made ready once for all pages.

Edge: reads the logo.
"""

import hashlib
from dataclasses import dataclass
from html import escape

from oidcgate.config.model import Config
from oidcgate.config.model import Look as LookConfig
from oidcgate.config.picture import Picture, UnusablePicture, read_picture
from oidcgate.errors import ConfigError, Problem
from oidcgate.web.colour import variables

MARK = (
    '<svg class="logo" viewBox="0 0 44 44" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M8 40V20a14 14 0 0 1 28 0v20"/><path d="M4 40h36"/>'
    '<path d="M16 40V21a6 6 0 0 1 12 0v19" opacity=".55"/><circle cx="22" cy="29" r="1.5"/></svg>'
)
TAG_LENGTH = 16  # of the logo's hash, in its address


@dataclass(frozen=True, slots=True)
class Look:
    """
    What is the same on every page; made once, since pages are for strangers, too.

    Attributes:
        colour: ``#rrggbb``; ``style``: what it means to the stylesheet.
        tag: what the logo's content comes down to; ``logo_url``: its address, good for ever. Empty without a logo.
        brand: logo and name as markup; the name stands beside the logo, which need not say it again.
    """

    name: str
    colour: str
    style: str
    logo: Picture | None
    tag: str
    logo_url: str
    brand: str


def look_of(look: LookConfig, logo: Picture | None = None, *, prefix: str = "") -> Look:
    """A configured look, with a logo that was read."""
    tag = url = ""
    mark = MARK
    if logo is not None:
        tag = hashlib.sha256(logo.data).hexdigest()[:TAG_LENGTH]
        url = f"{prefix}/logo?v={tag}"
        mark = f'<img class="logo" src="{escape(url)}" alt="">'
    brand = f"{mark}<span>{escape(look.name)}</span>"
    return Look(look.name, look.colour, variables(look.colour), logo, tag, url, brand)


PLAIN = look_of(LookConfig())


def load_look(config: Config) -> Look:
    """
    Read what the configuration says.

    Raises:
        ConfigError: the logo cannot be used.
    """
    file = config.look.logo_file
    try:
        logo = None if file is None else read_picture(file)
    except UnusablePicture as error:
        raise ConfigError([Problem("look.logo_file", str(error))]) from None
    return look_of(config.look, logo, prefix=config.prefix)
