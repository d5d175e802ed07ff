"""
oauth2-proxy's configuration as ours.

Pure, but for the reader that it is handed for a list of addresses in a file of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oidcgate.imports.flags import VERSION
from oidcgate.imports.map_access import Reader, map_access
from oidcgate.imports.map_listeners import map_listeners
from oidcgate.imports.map_provider import map_provider
from oidcgate.imports.map_session import map_session
from oidcgate.imports.map_sites import map_sites
from oidcgate.imports.reading import Source, read
from oidcgate.imports.report import Report
from oidcgate.imports.work import Work

HEAD = f"""\
# Made by `oidcgate import oauth2-proxy` from a configuration of oauth2-proxy {VERSION}.
# Look for FILL IN, then run `oidcgate check --config FILE`. No secret was copied.
"""
SAFER = (
    "the cookie's name begins with __Host- (__Secure- with a domain): no other host and no plain http can set it",
    "the cookie holds no token, only a handle; signing out ends the session on the server",
    "nonce, issuer and PKCE are always checked; every audience of a token must be client_id or in provider.audiences",
    "requests that other sites' pages make with the cookie are refused",
    "hosts to return to are named one by one, or by a domain with a dot before it; there is no * for all",
    "upstream.insecure_skip_verify is for one site's upstream, never for the issuer",
)


@dataclass(frozen=True, slots=True)
class Imported:
    """
    The result.

    Attributes:
        text: our configuration, as YAML with comments.
        document: the same, parsed.
        to_fill_in: how many places wait for a person.
    """

    text: str
    document: dict[str, object]
    report: Report
    to_fill_in: int


def convert(sources: Iterable[Source], variables: Mapping[str, str], read_file: Reader) -> Imported:
    """
    Our configuration from oauth2-proxy's files.

    Args:
        variables: the environment that oauth2-proxy runs with, as far as it is known.
        read_file: the text of a file that the configuration names; None when it cannot be read.

    Raises:
        Unreadable: a file is none of the formats, or broken.
    """
    report = Report()
    work = Work(read(sources, variables, report), report=report)
    carried = map_sites(work)
    map_access(work, read_file)
    if work.draft.get("sites.1") is not None:
        work.draft.put("sites.1.access", work.draft.get("sites.0.access"))
    map_provider(work)
    map_session(work)
    map_listeners(work, carried=carried)
    for given in work.settings:
        if given.flag.part is not None and not given.flag.restricts and not given.is_silent:
            report.add(given.flag.part, given.spelled, given.flag.what)
    for text in SAFER:
        work.report_safer(text)
    return Imported(HEAD + "\n" + work.draft.render(), work.draft.document, report, work.draft.to_fill_in)
