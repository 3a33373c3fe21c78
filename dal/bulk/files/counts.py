"""Counts: what a load has done so far, and the rows it has set aside; the first that may not be ends it."""

from __future__ import annotations

from dal.bulk.checkpoint import Place
from dal.bulk.files.located import Located
from dal.bulk.files.options import LoadOptions
from dal.bulk.files.progress import FileProgress
from dal.bulk.files.source import Source
from dal.bulk.result import BulkResult, Rejected
from dal.bulk.target import Target

__all__ = ["Counts"]

_START = Place()


class Counts:
    """What a load has done so far, and the rows it has set aside.

    Args:
        options: What the caller says.
        name: The file's name.
        target: Where the rows go.
        before: What was done by earlier runs.
    """

    def __init__(self, options: LoadOptions, name: str, target: Target, *, before: Place = _START) -> None:
        self._options, self._name, self._target, self._before = options, name, target, before
        self.located = Located(name, target.name, whole=options.resume is None)
        self.inserted = self.updated = self.unchanged = 0
        self.rejected: list[Rejected] = []

    @property
    def rows(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.unchanged

    @property
    def seen(self) -> int:
        """Records handled, in this run and before it."""
        return self._before.rows + self._before.rejected + self.rows + len(self.rejected)

    def reject(self, rejected: Rejected, orig: BaseException | None = None) -> None:
        """Set a row aside, or end the load."""
        if not self._options.rejecting:
            raise self.located.error(rejected, orig)
        self.rejected.append(rejected)
        most = self._options.max_rejected
        if most is not None and len(self.rejected) > most:
            raise self.located.error(rejected, orig, more_than=most)

    def add(self, result: BulkResult) -> None:
        """Add what writing rows has come to."""
        self.inserted += result.inserted
        self.updated += result.updated
        self.unchanged += result.unchanged

    def result(self) -> BulkResult:
        """Return it."""
        return BulkResult(
            inserted=self.inserted,
            updated=self.updated,
            unchanged=self.unchanged,
            rejected=self.rejected,
        )

    def begin(self, place: Place) -> Counts:
        """Return the counts of one part, which may be done again."""
        return Counts(self._options, self._name, self._target, before=place)

    def join(self, part: Counts) -> None:
        """Add those of a part that is committed."""
        self.add(part.result())
        self.rejected += part.rejected

    def progress(self, source: Source, sent: int = 0) -> FileProgress:
        """Return how far it is."""
        rejected = self._before.rejected + len(self.rejected)
        return FileProgress(done=source.done, total=source.size, rows=self.seen + sent, rejected=rejected)
