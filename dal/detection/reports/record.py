"""Findings as plain data: what reports are written from, and what test processes send to each other."""

from __future__ import annotations

from typing import TypedDict

from dal.detection.findings import Finding
from dal.detection.groups import Group
from dal.detection.report import Report

__all__ = ["FindingRecord", "ScopeRecord", "Tick", "record", "record_of"]

Tick = tuple[float, float, str, int]
"""One statement of a time line: start and duration in seconds, its shape, and the number of its finding or -1."""


class FindingRecord(TypedDict):
    """One finding; `file`, `line` and `function` are its call site taken apart."""

    rule: str
    subject: str
    message: str
    queries: int
    seconds: float
    saves: int
    file: str
    line: int
    function: str
    loaded_at: str | None
    stack: list[str]
    fix: str
    alternatives: list[str]
    sql: str


class ScopeRecord(TypedDict):
    """One observed stretch: a test or a request."""

    name: str
    statements: int
    seconds: float
    findings: list[FindingRecord]
    timeline: list[Tick]


def record_of(finding: Finding) -> FindingRecord:
    """Turn a finding into plain data.

    Args:
        finding: The finding.
    """
    file, _, rest = finding.call_site.rpartition(":")
    line, _, function = rest.partition(" in ")
    return FindingRecord(
        rule=finding.rule,
        subject=finding.subject,
        message=finding.message,
        queries=finding.queries,
        seconds=finding.seconds,
        saves=finding.saves,
        file=file or finding.call_site,
        line=int(line) if line.isdigit() else 1,
        function=function,
        loaded_at=finding.loaded_at,
        stack=list(finding.stack[:8]),
        fix=finding.fix,
        alternatives=list(finding.alternatives),
        sql=finding.sql,
    )


def record(report: Report, name: str) -> ScopeRecord:
    """Turn a report into plain data.

    Args:
        report: The report of a scope that has ended.
        name: What was observed, for example a test's id.
    """
    judged = report.judged()
    number_of: dict[int, int] = {id(group): number for number, (_, group) in enumerate(judged)}
    return ScopeRecord(
        name=name,
        statements=report.count,
        seconds=report.seconds,
        findings=[record_of(finding) for finding, _ in judged],
        timeline=[
            (round(start, 6), round(seconds, 6), shape[:300], _number(group, number_of))
            for start, seconds, shape, group in report.timeline
        ],
    )


def _number(group: Group | None, number_of: dict[int, int]) -> int:
    return number_of.get(id(group), -1) if group is not None else -1
