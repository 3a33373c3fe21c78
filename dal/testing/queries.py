"""What a test may ask about its own statements: the fixture `queries` of the plugin gives one of these.

def test_page(client, queries):
    client.get("/users")
    assert queries.count <= 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dal.detection import Finding, Report
    from dal.detection.report import Seen

__all__ = ["Queries"]


class Queries:
    """The statements of one test, from the start of its own code: what the fixture `queries` gives."""

    def __init__(self) -> None:
        self._report: Report | None = None
        self._from = 0

    def watch(self, report: Report) -> None:
        """Follow a report."""
        self._report = report

    @property
    def count(self) -> int:
        """How many statements reached the database."""
        return (self._report.count if self._report else 0) - self._from

    @property
    def seconds(self) -> float:
        """How long they took in the driver, since the start of the test."""
        return self._report.seconds if self._report else 0.0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What detection has to say so far."""
        return self._report.findings if self._report else ()

    @property
    def statements(self) -> tuple[Seen, ...]:
        """The shapes that were sent, with count, seconds and call site."""
        return self._report.statements if self._report else ()

    def clear(self) -> None:
        """Count from zero from here on."""
        self._from += self.count

    def __repr__(self) -> str:
        lines = (f"{seen.count:4d} x {seen.sql[:140]}  ({seen.call_site})" for seen in self.statements)
        return f"{self.count} statements\n" + "\n".join(lines)
