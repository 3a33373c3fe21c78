"""Annotations of GitHub Actions: one line for each finding, which the runner puts beside the code."""

from __future__ import annotations

from collections.abc import Sequence

from dal.detection.reports.record import ScopeRecord

__all__ = ["as_github"]


def as_github(scopes: Sequence[ScopeRecord], *, level: str = "warning") -> list[str]:
    """Write findings as workflow commands, each place once.

    Args:
        scopes: What was observed.
        level: notice, warning or error.

    Example:
        >>> as_github([])
        []
    """
    lines: dict[tuple[str, str, str, int], str] = {}
    for scope in scopes:
        for finding in scope["findings"]:
            key = (finding["rule"], finding["subject"], finding["file"], finding["line"])
            where = f"file={_property(finding['file'])},line={finding['line']},title={_property(finding['rule'])}"
            text = f"{finding['message']}\nwrite: {finding['fix']}\nseen in {scope['name']}"
            lines.setdefault(key, f"::{level} {where}::{_data(text)}")
    return list(lines.values())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
