"""What detection found, as small values: each says what, how often, how long, where, and the line to write.

`Finding` is what they have in common; tell them apart by their class.
"""

from __future__ import annotations

from dataclasses import dataclass

from dal.detection.finding import Finding

__all__ = [
    "ColumnNPlusOne",
    "Finding",
    "MultipliedRows",
    "NPlusOne",
    "RepeatedStatement",
    "RowByRowWrites",
    "UnusedColumns",
    "UnusedEagerLoad",
]


@dataclass(frozen=True, kw_only=True, repr=False)
class NPlusOne(Finding):
    """A relationship was loaded for each parent on its own."""

    relationship: str
    parents: int
    rule: str = "n-plus-one"

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.relationship

    @property
    def message(self) -> str:
        """One sentence."""
        return f"{self.relationship} was loaded {self.queries} times, once for each parent"


@dataclass(frozen=True, kw_only=True, repr=False)
class ColumnNPlusOne(Finding):
    """Columns of an object were loaded for each object on its own: `reason` is deferred, expired, sub-table or refresh."""

    entity: str
    columns: tuple[str, ...]
    reason: str
    rule: str = "column-n-plus-one"

    @property
    def subject(self) -> str:
        """What it is about."""
        return f"{self.entity}.{self.columns[0]}" if len(self.columns) == 1 else self.entity

    @property
    def message(self) -> str:
        """One sentence."""
        what = {"refresh": "refreshed", "expired": "loaded again after it expired", "deferred": "loaded (deferred)"}
        return f"{self.subject} was {what.get(self.reason, 'loaded')} {self.queries} times, once for each object"


@dataclass(frozen=True, kw_only=True, repr=False)
class RepeatedStatement(Finding):
    """One statement was sent again and again from one place; `reason` is per-item, list-per-item, row-by-row or invariant."""

    statement: str
    reason: str
    rule: str = "repeated-statement"

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.statement

    @property
    def message(self) -> str:
        """One sentence."""
        if self.reason == "invariant":
            return f"the same question was asked {self.queries} times with nothing changed: {self.statement}"
        return f"a statement was sent {self.queries} times, once for each item: {self.statement}"


@dataclass(frozen=True, kw_only=True, repr=False)
class RowByRowWrites(Finding):
    """Rows were written one statement, flush or commit at a time."""

    statement: str
    rule: str = "row-by-row-writes"

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.statement

    @property
    def message(self) -> str:
        """One sentence."""
        return f"{self.queries} rows were written one at a time: {self.statement}"


@dataclass(frozen=True, kw_only=True, repr=False)
class UnusedEagerLoad(Finding):
    """A relationship was loaded eagerly and never read."""

    relationship: str
    objects: int
    rule: str = "unused-eager-load"

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.relationship

    @property
    def message(self) -> str:
        """One sentence."""
        return f"{self.relationship} was loaded eagerly, {self.objects} objects, and never read"


@dataclass(frozen=True, kw_only=True, repr=False)
class MultipliedRows(Finding):
    """Joined collections multiplied each other's rows."""

    relationships: tuple[str, ...]
    rows: int
    objects: int
    measured: bool
    rule: str = "multiplied-rows"

    @property
    def subject(self) -> str:
        """What it is about."""
        return " x ".join(self.relationships)

    @property
    def factor(self) -> float:
        """Rows for each object they carry."""
        return self.rows / max(self.objects, 1)

    @property
    def message(self) -> str:
        """One sentence."""
        about = "" if self.measured else "about "
        return f"joining {self.subject} fetched {about}{self.rows} rows for {self.objects} objects"


@dataclass(frozen=True, kw_only=True, repr=False)
class UnusedColumns(Finding):
    """Most columns of a wide table were fetched and never read."""

    entity: str
    columns: tuple[str, ...]
    rule: str = "unused-columns"

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.entity

    @property
    def message(self) -> str:
        """One sentence."""
        return f"{len(self.columns)} columns of {self.entity} were fetched and never read"
