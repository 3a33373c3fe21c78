"""Known findings of legacy code: accepted where they are, never added to, and forgotten once they are gone.

The file is made once. From then on it only shrinks: an entry whose tests all ran without it is taken out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dal.detection.reports.record import FindingRecord, ScopeRecord
from dal.errors import ConfigError

__all__ = ["Baseline", "Key"]

Key = tuple[str, str, str, str]
"""Rule, subject, file and function of a finding; not its line, which moves with every edit above it."""


def key_of(finding: FindingRecord) -> Key:
    """Return what a finding is known by."""
    return finding["rule"], finding["subject"], finding["file"].replace("\\", "/"), finding["function"]


class Baseline:
    """The entries of a baseline file.

    Args:
        entries: The names of the tests that show each known finding.

    Example:
        >>> len(Baseline({("n-plus-one", "User.posts", "app/views.py", "page"): {"test_page"}}))
        1
    """

    def __init__(self, entries: Mapping[Key, set[str]]) -> None:
        self._entries: dict[Key, set[str]] = {key: set(names) for key, names in entries.items()}

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a file.

        Raises:
            ConfigError: It is not a baseline.
        """
        try:
            data: Any = json.loads(path.read_text(encoding="utf-8"))
            entries = {
                (entry["rule"], entry["subject"], entry["file"], entry["function"]): set(entry["tests"])
                for entry in data["known"]
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is not a baseline of findings", hint="delete it to have it made anew") from error
        return cls(entries)

    @classmethod
    def of(cls, scopes: Iterable[ScopeRecord]) -> Baseline:
        """Make a baseline of everything that was found."""
        entries: dict[Key, set[str]] = {}
        for scope in scopes:
            for finding in scope["findings"]:
                entries.setdefault(key_of(finding), set()).add(scope["name"])
        return cls(entries)

    def write(self, path: Path) -> None:
        """Write the file, sorted, so that a change shows what went."""
        known = [
            {"rule": rule, "subject": subject, "file": file, "function": function, "tests": sorted(names)}
            for (rule, subject, file, function), names in sorted(self._entries.items())
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": 1, "known": known}, indent=1) + "\n", encoding="utf-8")

    def knows(self, finding: FindingRecord) -> bool:
        """Tell whether a finding is known."""
        return key_of(finding) in self._entries

    def shrunk(self, scopes: Iterable[ScopeRecord]) -> Baseline:
        """Return the baseline without what is gone.

        An entry loses a test that ran without showing it, and goes with its last test. A test that did not run says nothing.

        Args:
            scopes: The tests that ran.
        """
        shown: dict[str, set[Key]] = {scope["name"]: {key_of(finding) for finding in scope["findings"]} for scope in scopes}
        left = {
            key: {name for name in names if name not in shown or key in shown[name]} for key, names in self._entries.items()
        }
        return Baseline({key: names for key, names in left.items() if names})
