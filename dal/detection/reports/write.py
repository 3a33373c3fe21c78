"""Choose the format by the name of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from dal.detection.reports.html import as_html
from dal.detection.reports.record import ScopeRecord
from dal.detection.reports.sarif import as_sarif
from dal.errors import UsageError

__all__ = ["as_json", "write_report", "writer_for"]


def as_json(scopes: Sequence[ScopeRecord]) -> str:
    """Write everything as JSON: a list of scopes under `scopes`, with totals."""
    totals = {
        "scopes": len(scopes),
        "statements": sum(scope["statements"] for scope in scopes),
        "findings": sum(len(scope["findings"]) for scope in scopes),
    }
    return json.dumps({"version": 1, "totals": totals, "scopes": list(scopes)}, indent=1)


_WRITERS: dict[str, Callable[[Sequence[ScopeRecord]], str]] = {
    ".json": as_json,
    ".sarif": as_sarif,
    ".html": as_html,
    ".htm": as_html,
}


def writer_for(path: Path) -> Callable[[Sequence[ScopeRecord]], str]:
    """Return what writes a file of this name.

    Args:
        path: The file.

    Raises:
        UsageError: No format goes by this ending.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: no report has this ending", hint="name the file *.html, *.json or *.sarif")
    return writer


def write_report(path: Path, scopes: Sequence[ScopeRecord]) -> None:
    """Write a report.

    Args:
        path: The file; its ending says the format: `.html`, `.json` or `.sarif`.
        scopes: What was observed.

    Raises:
        UsageError: No format goes by this ending.
    """
    text = writer_for(path)(scopes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
