"""What migrations answer with: a revision, and where a database stands among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Revision", "Status"]


@dataclass(frozen=True)
class Revision:
    """One migration file.

    Args:
        id: Alembic's revision identifier.
        message: The first line of the file's docstring.
        path: The file.
    """

    id: str
    message: str
    path: Path

    def __str__(self) -> str:
        return f"{self.id} {self.message}".rstrip()


@dataclass(frozen=True)
class Status:
    """Where a database stands.

    Args:
        current: Identifiers of the revisions the database is at; empty before the first `up`.
        pending: The revisions that `up` would apply, in that order.
        unknown: Those of `current` for which the folder has no file: newer code migrated this database.

    Example:
        >>> Status(current=("0001",), pending=(), unknown=()).up_to_date
        True
    """

    current: tuple[str, ...]
    pending: tuple[Revision, ...]
    unknown: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """Whether there is nothing to apply and nothing unknown."""
        return not self.pending and not self.unknown
