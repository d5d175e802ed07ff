"""What is said of each thing that does not fit; how one gets to the page is in ``test_cluster``."""

from oidcgate.kube.diagnosis import Finding, Part
from oidcgate.web import texts
from oidcgate.web.misfit import findings_of

HOSTILE = '<script>alert("1")</script>&'


def test_a_finding() -> None:
    """The part, what is wrong, what to write and where, and the flag."""
    html = findings_of([Finding(Part.CA, "It is so.", "a: b\n", where="some file", flags="--x=y")])
    for words in ("<h2>CA</h2>", "<p>It is so.</p>", "To set, in some file:", ">a: b\n</pre>", ">--x=y</pre>"):
        assert words in html
    bare = findings_of([Finding(Part.USERNAME, "It is so.")])
    assert bare == "<h2>Username claim</h2><p>It is so.</p>"
    assert texts.SETTING_FLAG not in bare
    assert findings_of([]) == ""


def test_nothing_is_markup() -> None:
    """Names come from tokens and from API servers."""
    html = findings_of([Finding(Part.CA, HOSTILE, HOSTILE, where=HOSTILE, flags=HOSTILE)])
    assert "<script" not in html
    assert 'alert("' not in html
