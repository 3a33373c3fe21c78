"""What a run of SQLAlchemy's tests came to, and in what two runs differ."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.sqlalchemy_suite.differences import Kind

__all__ = ["Outcomes", "compare", "read"]

_DRIVER = re.compile(r"_sqlite\+pysqlite_[\d_]+")
_COUNT = re.compile(r"desired statement count (\d+) does not match (\d+)")


@dataclass(frozen=True)
class Outcomes:
    """The tests of one run by name: passed, failed or skipped, and what their statements were.

    Args:
        results: `passed`, `failed` or `skipped`.
        statements: The assertion about statements that did not hold, where there was one.
        touched: How many tests loaded something on touch under a policy.
    """

    results: dict[str, str]
    statements: dict[str, str]
    touched: int

    def counts(self) -> str:
        """Say how many there are of each."""
        counted = Counter(self.results.values())
        return ", ".join(f"{counted[word]} {word}" for word in ("passed", "failed", "skipped"))


def read(report: Path) -> Outcomes:
    """Read a JUnit report.

    Args:
        report: The file.

    Returns:
        The outcomes.
    """
    results: dict[str, str] = {}
    statements: dict[str, str] = {}
    touched = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = _DRIVER.sub("", f"{case.get('classname', '').removeprefix('test.orm.')}::{case.get('name')}")
        facts = {fact.get("name"): fact.get("value") or "" for fact in case.iter("property")}
        failed = case.find("failure") is not None or case.find("error") is not None
        if results.get(name) != "failed":
            results[name] = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
        touched += facts.get("touches", "0") != "0"
        if facts.get("statements"):
            statements[name] = facts["statements"]
    return Outcomes(results, statements, touched)


def compare(plain: Outcomes, stamped: Outcomes) -> dict[str, Kind]:
    """Compare two runs.

    Args:
        plain: The run without batched loading.
        stamped: The run with it.

    Returns:
        What differs, by test. Tests that fail without batched loading are left out.
    """
    found: dict[str, Kind] = {}
    for name, result in plain.results.items():
        if result == "failed":
            continue
        if stamped.results.get(name) != result:
            found[name] = "outcome"
        elif name in stamped.statements:
            found[name] = _kind(stamped.statements[name])
    return found


def _kind(assertion: str) -> Kind:
    counted = _COUNT.search(assertion)
    if counted is None:
        return "text"
    return "fewer" if int(counted[2]) < int(counted[1]) else "more"
