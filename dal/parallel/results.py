"""What comes out of a parallel scan: to be looped over, folded, listed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Generic, TypeVar

from dal._reading import Reading
from dal.errors import UsageError
from dal.parallel.remote import Column
from dal.parallel.scan import Scan, Task
from dal.parallel.writing import writer_for

__all__ = ["UNSET", "ParallelResults", "flattened"]

R = TypeVar("R")
A = TypeVar("A")

UNSET: Any = object()


class ParallelResults(Generic[R]):
    """Results, made when they are asked for; asking again runs the scan again, in a new snapshot.

    Args:
        task: What is to be done.
        flat: Whether a part makes a list of results rather than one.
        columns: The names and types of the results, where they are known.
    """

    def __init__(self, task: Task, *, flat: bool, columns: Sequence[Column] | None = None) -> None:
        self._task, self._flat, self._columns = task, flat, columns

    def __iter__(self) -> Iterator[R]:
        found = Scan(self._task).results()
        return flattened(found) if self._flat else found

    def list(self) -> list[R]:
        """Return all results."""
        return [*self]

    def reduce(self, merge: Callable[[Any, R], Any], initial: Any = UNSET) -> Any:
        """Fold the results into one, as they come.

        Args:
            merge: Called with what there is so far and the next result.
            initial: What to begin with; the first result by default.

        Returns:
            What `merge` returned last.

        Raises:
            UsageError: It is no function, or there is nothing to fold and nothing to begin with.
            PartFailed: A part failed.
        """
        if not callable(merge):
            raise UsageError(f"{merge!r} is no function", hint=".reduce(int.__add__), or .list() for all results")
        folded = initial
        for result in self:
            folded = result if folded is UNSET else merge(folded, result)
        if folded is UNSET:
            raise UsageError("there was no row to fold", hint="give reduce() what to begin with: reduce(merge, 0)")
        return folded

    def write(self, target: Any) -> int:
        """Write the results as they come.

        Args:
            target: A path that ends in .csv, .jsonl or .parquet, the first two also with .gz or .zst; something with
                `insert(rows)`, such as a BulkWriter; or a function that is called with a list of results.

        Returns:
            How many were written.

        Raises:
            UsageError: It is nothing that can be written to.
            PartFailed: A part failed; a file is removed then.
        """
        written = 0
        with writer_for(target, self._columns) as write, closing(Scan(self._task).results()) as found:
            for result in found:
                rows = result if self._flat else [result]
                write(rows)
                written += len(rows)
        return written


def flattened(parts: Reading[Any]) -> Iterator[Any]:
    """Yield what is in the parts."""
    with closing(parts):
        for part in parts:
            for each in part:
                yield each
                parts.check()
