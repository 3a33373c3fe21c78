"""Strict: what the query did not load is refused, with the line that would load it.

"Not loaded" is an error, "none" stays None. Use it around code that must not talk to the database on the way: a
request's rendering, a serializer, a test. `action="warn"` says so without refusing, for code that is not there yet; an
`AllowList` names what may still happen and can only get shorter. Its opposite is `batched()`.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy.orm import InstanceState

from dal.errors import NotLoaded
from dal.loading.allow import AllowList
from dal.loading.peers import peers
from dal.loading.touch import Touch

__all__ = ["NotLoadedWarning", "Strict"]

Only = Literal["all", "to_many", "n_plus_one"]


class NotLoadedWarning(UserWarning):
    """A strict policy with `action="warn"` saw an attribute loaded on the way."""


@dataclass(frozen=True, slots=True)
class Strict:
    """Refuse to load on the way.

    Args:
        columns: Also refuse deferred columns, columns of sub-tables and rows expired by a commit.
        only: `"all"`; `"to_many"` leaves to-one relationships to SQLAlchemy; `"n_plus_one"` lets an object that came
            alone load what it wants, and refuses where others of the same result miss the same.
        action: Raise, or warn and load.
        allow: What may still be loaded on the way.
    """

    columns: bool = False
    only: Only = "all"
    action: Literal["raise", "warn"] = "raise"
    allow: AllowList = AllowList()  # noqa: RUF009

    @property
    def name(self) -> str:
        """The word for it in errors and configuration files."""
        return "strict"

    def load(self, touch: Touch) -> Any:
        """Refuse the touch, or leave it to SQLAlchemy where this mode has nothing to say about it."""
        if not self._forbids(touch) or self.allow.lets(touch):
            return touch.stock()
        if self.action == "raise":
            raise NotLoaded(_told(touch), hint=_hint(touch))
        warnings.warn(f"{_told(touch)}; {_hint(touch)}", NotLoadedWarning, stacklevel=_levels())
        return touch.stock()

    def _forbids(self, touch: Touch) -> bool:
        if touch.kind != "relationship":
            return self.columns and (self.only != "n_plus_one" or _has_peers(touch))
        if self.only == "to_many":
            return bool(touch.mapper.relationships[touch.key].uselist)
        return self.only == "all" or _has_peers(touch)


def _has_peers(touch: Touch) -> bool:
    def misses(_: InstanceState[Any], loaded: dict[str, Any]) -> bool:
        return touch.keys.isdisjoint(loaded)

    return len(peers(touch, misses, 2)) > 1


def _levels() -> int:
    """Return how many frames above its caller the application's line is."""
    levels, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in {"dal", "sqlalchemy"}:
        levels, frame = levels + 1, frame.f_back
    return levels


def _told(touch: Touch) -> str:
    what = {"relationship": "relationship", "column": "deferred column", "expired": "column"}[touch.kind]
    return f"{touch.name} was not loaded by the query, and a strict policy refuses to load the {what} on the way"


def _hint(touch: Touch) -> str:
    if touch.kind == "expired":
        return "refresh the object with session.refresh(), or keep it after a commit with expire_on_commit=False"
    plain = "selectinload" if touch.kind == "relationship" else "undefer"
    return f"policy=eager({touch.name}), or .options({plain}({touch.name})), or users.load(found, {touch.name}) before"
