"""What a scope found, ready to read, to raise and to write to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, cast

from dal.detection.findings import Finding
from dal.detection.groups import Group
from dal.detection.rules import judge
from dal.detection.scope import Scope
from dal.errors import NPlusOneFound

__all__ = ["Report", "Seen", "is_allowed", "render"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One shape of statement from one place."""

    sql: str
    count: int
    seconds: float
    call_site: str


class Report:
    """Findings and figures of one observed stretch; live while it lasts, final once it has ended.

    Attributes:
        count: Statements that reached the database.
        seconds: Time they took in the driver, in seconds.

    Example:
        >>> from dal.detection import detect
        >>> with detect() as report:
        ...     pass
        >>> report.count, report.findings
        (0, ())
    """

    def __init__(self, scope: Scope, *, allow: Sequence[str] = (), rules: Sequence[str] | None = None) -> None:
        self._scope = scope
        self._allow = tuple(allow)
        self._rules = None if rules is None else frozenset(rules)
        self._judged: tuple[tuple[int, bool], tuple[tuple[Finding, Group], ...]] | None = None

    @property
    def count(self) -> int:
        """Statements that reached the database."""
        return self._scope.statements

    @property
    def seconds(self) -> float:
        """Time they took in the driver."""
        return self._scope.seconds

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, most statements first."""
        return tuple(finding for finding, _ in self.judged())

    @property
    def statements(self) -> tuple[Seen, ...]:
        """What was sent, by shape and place, most often first."""
        groups = sorted(self._scope.groups.values(), key=lambda group: -group.count)
        return tuple(
            Seen(group.shape, group.count, group.seconds, str(group.sites[0]) if group.sites else "(no application frame)")
            for group in groups
        )

    @property
    def timeline(self) -> tuple[tuple[float, float, str, Group | None], ...]:
        """The first statements in order, as many as `detect(timeline=...)` keeps: start, seconds, shape, group."""
        return tuple(self._scope.timeline)

    def judged(self) -> tuple[tuple[Finding, Group], ...]:
        """Return each finding with the group of statements it is about."""
        now = (self._scope.statements, self._scope.closed)
        if self._judged is None or self._judged[0] != now:
            self._judged = (now, self._judge())
        return self._judged[1]

    def raise_if_any(self) -> None:
        """Raise when something was found.

        Raises:
            NPlusOneFound: With all findings in its message; also an AssertionError.
        """
        found = list(self.findings)
        if found:
            raise NPlusOneFound(
                f"{len(found)} finding{'s' if len(found) > 1 else ''} in {self.count} statements\n\n"
                + "\n\n".join(render(finding) for finding in found),
                hint=found[0].fix,
            )

    def __str__(self) -> str:
        if not self.findings:
            return f"{self.count} statements in {_ms(self.seconds)}, nothing to say"
        return "\n\n".join(render(finding) for finding in self.findings)

    def _judge(self) -> tuple[tuple[Finding, Group], ...]:
        merged: dict[tuple[str, str, str], tuple[Finding, Group]] = {}
        for finding, group in judge(self._scope):
            if (self._rules is not None and finding.rule not in self._rules) or is_allowed(finding, self._allow):
                continue
            key = (finding.rule, finding.subject, finding.call_site)
            if key in merged:
                known = merged[key][0]
                total: Any = replace(
                    cast("Any", known),
                    queries=known.queries + finding.queries,
                    seconds=known.seconds + finding.seconds,
                    saves=known.saves + finding.saves,
                )
                merged[key] = (total, group)
            else:
                merged[key] = (finding, group)
        return tuple(sorted(merged.values(), key=lambda pair: -pair[0].queries))


def is_allowed(finding: Finding, allow: Sequence[str]) -> bool:
    """Tell whether a finding matches one of the patterns.

    Args:
        finding: The finding.
        allow: Patterns with `*`, for the subject (`User.orders`, `User.*`) or for a line of its stack (`app/admin.py:*`).
    """
    return any(
        fnmatchcase(finding.subject, pattern) or any(fnmatchcase(line, pattern) for line in finding.stack) for pattern in allow
    )


def render(finding: Finding) -> str:
    """Write a finding as a letter: what, where, and the line to write.

    Args:
        finding: The finding.

    Returns:
        A few lines of text.
    """
    lines = [f"{finding.message} ({_ms(finding.seconds)})", f"  at      {finding.call_site}"]
    lines += [f"  from    {line}" for line in finding.stack[1:4]]
    if finding.loaded_at:
        lines.append(f"  parents {finding.loaded_at}")
    lines.append(f"  write   {finding.fix}")
    lines += [f"  or      {line}" for line in finding.alternatives]
    if finding.saves:
        lines.append(f"  saves   {finding.saves} statement{'s' if finding.saves > 1 else ''}")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
