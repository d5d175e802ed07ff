"""
What every mapping works on: the settings, the draft and the report.

Pure.
"""

from dataclasses import dataclass, field

from oidcgate.imports.draft import Draft
from oidcgate.imports.report import Part, Report
from oidcgate.imports.settings import Given, Settings


@dataclass(frozen=True, slots=True)
class Work:
    """One import under way."""

    settings: Settings
    draft: Draft = field(default_factory=Draft)
    report: Report = field(default_factory=Report)

    def taken(self, name: str, text: str = "") -> None:
        """A setting is taken over; where it was not given there is nothing to say."""
        self.tell(Part.TAKEN, name, text)

    def differs(self, name: str, text: str) -> None:
        """A setting means something else with us."""
        self.tell(Part.DIFFERS, name, text)

    def safer(self, name: str, text: str) -> None:
        """A setting is safer with us, whatever it says."""
        self.tell(Part.SAFER, name, text)

    def none(self, name: str, text: str) -> None:
        """A setting has no counterpart."""
        self.tell(Part.NONE, name, text)

    def tell(self, part: Part, name: str, text: str = "") -> None:
        """A line on a setting that was given, unless it asks for nothing that could be missing."""
        given = self.settings.get(name)
        if given is not None and not (given.is_silent and part in (Part.SAFER, Part.NONE)):
            self.report.add(part, given.spelled, text or given.flag.what)

    def known(self, name: str) -> Given | None:
        """A setting whose value is known; else a line says that it must be filled in by hand."""
        given = self.settings.get(name)
        if given is not None and not given.is_known:
            self.differs(name, f"its value is not in these files; set {given.flag.what} by hand")
            return None
        return given

    def report_safer(self, text: str) -> None:
        """Something that is safer without anybody's doing."""
        self.report.add(Part.SAFER, "", text)

    def report_differs(self, text: str) -> None:
        """A difference that no single setting is behind."""
        self.report.add(Part.DIFFERS, "", text)
