"""The report's four parts."""

from oidcgate.imports.report import Part, Report


def test_parts_in_order_and_empty_ones_too() -> None:
    """All four parts are there, in one order, long lines folded."""
    report = Report()
    report.add(Part.NONE, "--footer", "word " * 40)
    report.add(Part.TAKEN, "", "something")
    blocks = report.render().split("\n\n")
    assert [block.partition(":")[0] for block in blocks] == [part.value for part in Part]
    assert blocks[0] == "Taken over:\n  - something"
    assert blocks[1] == "Differs:\n  (nothing)"
    assert all(len(line) <= 120 for line in report.render().splitlines())


def test_each_line_once() -> None:
    """The same line is not printed twice."""
    report = Report()
    for _ in range(2):
        report.add(Part.DIFFERS, "--scope", "text")
    assert report.lines(Part.DIFFERS) == ["--scope: text"]
    assert repr(report) == "<Report TAKEN: 0, DIFFERS: 1, SAFER: 0, NONE: 0>"
