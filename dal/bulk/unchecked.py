"""Unchecked: staged rows that may share a key, and the search for them; it sorts all rows, so it is made when needed only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dal.bulk import apply
from dal.bulk.context import Context
from dal.bulk.keyed import Keyed, same_key
from dal.bulk.staging import Staging

__all__ = ["Unchecked"]


@dataclass(frozen=True)
class Unchecked:
    """Staged rows of which some may share a key.

    Args:
        context: The call.
        staging: The rows.
        keyed: What tells them apart.
    """

    context: Context
    staging: Staging
    keyed: Keyed

    def find(self) -> list[tuple[Any, ...]]:
        """Return the positions of rows that share a key, the first of each key in front."""
        columns = self.context.quoted(self.context.target.columns[name] for name in self.keyed.key)
        return self.context.wire.fetch(apply.duplicate_keys(columns, list(self.staging)))

    def refuse(self, found: list[tuple[Any, ...]]) -> None:
        """Refuse all of them but the first of each key.

        Args:
            found: What `find` returned.

        Raises:
            RowError: `rejecting` does not take one.
        """
        for ((first, *others),) in found:
            for position in others:
                stage = self.staging.holding(position)
                self.staging.reject(stage, position, same_key(self.keyed.key, first))
                self.staging.forget(stage, [position])
