"""The differences that are known, each with its reason: what `differences.toml` says."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

__all__ = ["Kind", "Stamp", "changes", "listed"]

Kind = Literal["fewer", "more", "text", "outcome"]
Stamp = Literal["mapping", "policy"]

_FILE = Path(__file__).with_name("differences.toml")


def listed(stamp: Stamp) -> dict[str, Kind]:
    """Return the kind of difference listed for each test.

    Args:
        stamp: What was stamped on every select.

    Returns:
        The kind by test.

    Raises:
        ValueError: A test is listed twice, or a group has no reason.
    """
    known: dict[str, Kind] = {}
    for group in tomllib.loads(_FILE.read_text(encoding="utf-8"))["difference"]:
        if not group["reason"]:
            raise ValueError(f"{_FILE.name}: a group of {len(group['tests'])} tests has no reason")
        for name in group["tests"] if stamp in group["stamps"] else ():
            if name in known:
                raise ValueError(f"{_FILE.name}: {name} is listed twice for {stamp}")
            known[name] = group["kind"]
    return known


def changes(found: Mapping[str, Kind], known: Mapping[str, Kind]) -> Iterator[str]:
    """Say where what was found and what is listed do not agree.

    Args:
        found: What differs, by test.
        known: What is listed, by test.

    Yields:
        One line a test.
    """
    for name in sorted(found.keys() | known.keys()):
        if name not in known:
            yield f"not listed ({found[name]}): {name}"
        elif name not in found:
            yield f"listed as {known[name]}, but no longer differs: {name}"
        elif found[name] != known[name]:
            yield f"listed as {known[name]}, but found {found[name]}: {name}"
