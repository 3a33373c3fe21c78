"""spatial(): what lies nearby.

`spatial(Airport.lat, Airport.lon)` is for map views, `pager.area(...)`: around the cells of a view it loads the ring of cells
that one step leads into, in one statement. `spatial()` is for keys and pages: around an object read by `pager.get(key)` it
loads the neighbouring keys in one IN, and after a step backwards the page before. How often visitors stay near is learned,
and decides.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import ColumnProperty, InstrumentedAttribute

from dal.errors import UsageError
from dal.prefetch.bounded import Bounded
from dal.prefetch.requests import Model, Request, Seen, Thought
from dal.prefetch.settings import whole

__all__ = ["Spatial", "spatial"]

_CLIENTS, _HALVE_AT = 1024, 1000


@dataclass(frozen=True, kw_only=True)
class Spatial:
    """The strategy as it is written down; made by `spatial()`."""

    names: tuple[str, ...]
    near: int
    columns: tuple[Any, ...] = field(compare=False, repr=False)
    name: str = "spatial"

    def begin(self) -> Model:
        """Make a model that has learned nothing yet."""
        return _Neighbourhood()


def spatial(*columns: InstrumentedAttribute[Any], near: int = 2) -> Spatial:
    """Load what lies nearby.

    Args:
        columns: The two coordinates of a map, such as `Airport.lat, Airport.lon`; none for keys and pages.
        near: How many keys to each side of one that was read, 1 to 50.

    Returns:
        The strategy, for `db.pager(prefetch=...)`.

    Raises:
        UsageError: There is one column or more than two, or one is no mapped column.

    Example:
        >>> spatial().name
        'spatial'
    """
    if len(columns) not in (0, 2) or not all(map(_is_column, columns)):
        raise UsageError(
            f"spatial() takes two mapped columns or none, not {columns!r}", hint="write spatial(Airport.lat, Airport.lon)"
        )
    names = tuple(str(each) for each in columns)
    return Spatial(names=names, near=whole(near, "near", least=1, most=50), columns=columns)


def _is_column(given: object) -> bool:
    return isinstance(given, InstrumentedAttribute) and isinstance(given.property, ColumnProperty)


@dataclass(slots=True)
class _Stay:
    """How often visitors of one list stayed near."""

    asked: int = 0
    stayed: int = 0

    def learn(self, *, stayed: bool) -> None:
        self.asked += 1
        self.stayed += stayed
        if self.asked >= _HALVE_AT:
            self.asked //= 2
            self.stayed //= 2


class _Neighbourhood:
    def __init__(self) -> None:
        self._offered: Bounded[tuple[Hashable, str], frozenset[Request]] = Bounded(_CLIENTS)
        self._stays: Bounded[str, _Stay] = Bounded(_CLIENTS)

    def observe(self, seen: Seen) -> list[Thought]:
        template = seen.request.template
        stay = self._stays.get_or_make(template, _Stay)
        offered = self._offered.get((seen.client, template))
        if offered:
            stay.learn(stayed=any(part in offered for part in seen.parts))
        nearby = seen.nearby
        if seen.direction == "backwards" and seen.preceding is not None:
            nearby = (seen.preceding, *nearby)
        self._offered.put((seen.client, template), frozenset(nearby))
        if not nearby:
            return [Thought("nothing lies nearby: this is no area, key or step backwards")]
        told = f"{stay.stayed} of {stay.asked} visitors stayed near"
        # Before anything is known, one in two is taken to.
        return [Thought(told, nearby, (stay.stayed + 2) / (stay.asked + 4))]
