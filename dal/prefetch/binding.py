"""Where the parameters of the next statement come from, learned from agreement alone.

A parameter may have been a parameter of the statement before, a column of that one's first row, or always the same. A source
counts once it has agreed three times in a row; a single disagreement sends it back to the start. With no source, a
parameter is not guessed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal

from dal.prefetch.requests import Seen

__all__ = ["Binding", "Source", "values_of"]

AGREEMENTS, SOURCES, COLUMNS = 3, 16, 64

Kind = Literal["parameter", "column", "constant"]
Source = tuple[Kind, str, Hashable]
"""Its kind, its name, and for a constant its value."""


class Binding:
    """The sources of one parameter, 16 at most, and how often each has agreed in a row."""

    __slots__ = ("agreed",)

    def __init__(self) -> None:
        self.agreed: dict[Source, int] = {}

    def learn(self, value: Hashable, before: Seen) -> None:
        """Compare a value with what could have been its source."""
        found: list[Source] = [("constant", "", value)]
        found += [source for source, each in values_of(before).items() if _same(each, value)]
        self.agreed = {source: self.agreed.get(source, 0) + 1 for source in found[:SOURCES]}

    def source(self) -> Source | None:
        """Return the source that has agreed most often, at least three times; of equals a parameter before a column."""
        proven = [(times, source) for source, times in self.agreed.items() if times >= AGREEMENTS]
        if not proven:
            return None
        order = {"parameter": 2, "column": 1, "constant": 0}
        return max(proven, key=lambda each: (each[0], order[each[1][0]]))[1]


def values_of(seen: Seen) -> Mapping[Source, Hashable]:
    """Return what of a demand the next one's parameters may come from."""
    found: dict[Source, Hashable] = {("parameter", name, None): value for name, value in seen.request.arguments}
    for name, value in list(seen.row.items())[:COLUMNS]:
        found["column", name, None] = value
    return found


def _same(one: Hashable, other: Hashable) -> bool:
    # None and True agree with too much by chance to prove anything.
    return type(one) is type(other) and one == other and one is not None and not isinstance(one, bool)
