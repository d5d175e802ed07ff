"""
Where logins and sign-outs of this gate may lead back to.

Pure but for what it holds. The sites of the configuration, the hosts below its wildcards, and ``return_hosts``; asked
before a login and once more after it.
"""

from collections.abc import Sequence

from oidcgate.returnto import Destination, destination
from oidcgate.web.site import SiteRuntime, SiteTable

LOGIN_PATHS = ("start", "callback", "sign_out", "ticket", "auth")  # of our own; a login never leads into itself


class Destinations:
    """
    Judges where a browser may be sent.

    Args:
        return_hosts: further hosts; one that begins with a dot means every host below.
    """

    def __init__(self, table: SiteTable, *, return_hosts: Sequence[str], prefix: str) -> None:
        self.table = table
        self._return_hosts = tuple(return_hosts)
        self._prefix = prefix

    def read(self, site: SiteRuntime, text: str) -> Destination | None:
        """The destination that a text names, seen from a site; None when it is not ours."""
        found = destination(text, own=site.origin, is_ours=self.is_ours)
        if found is None or not self._is_login(found.path):
            return found
        return Destination(found.origin, "/")

    def is_ours(self, scheme: str, authority: str) -> bool:
        """Whether an origin is one of the sites', or another that a login may lead to (https only)."""
        if self.table.of_origin(scheme, authority) is not None:
            return True
        return scheme == "https" and any(_is_named(authority, host) for host in self._return_hosts)

    def site_of(self, origin: str) -> SiteRuntime | None:
        """The site of an origin of ours, if a site it is."""
        scheme, _, authority = origin.partition("://")
        return self.table.of_origin(scheme, authority)

    def _is_login(self, path: str) -> bool:
        begin, _, rest = path.partition("?")[0].partition(f"{self._prefix}/")
        return begin == "" and rest.partition("/")[0] in LOGIN_PATHS


def _is_named(host: str, pattern: str) -> bool:
    """The dot is the boundary; a host with a port is another host."""
    return host.endswith(pattern) and host != pattern[1:] if pattern.startswith(".") else host == pattern
