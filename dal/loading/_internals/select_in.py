"""SQLAlchemy's own `SELECT ... IN`, run for objects that are there already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import InstanceState, Load, RelationshipProperty, Session
from sqlalchemy.util import EMPTY_DICT

__all__ = [
    "has_pending",
    "selectin_load",
    "selectin_of",
    "set_loaded",
    "shorten_paths",
]

_LONG_PATH = 64
_SELECTIN = (("lazy", "selectin"),)


class _Statement:
    __slots__ = ("_with_options",)

    def __init__(self, options: tuple[Any, ...]) -> None:
        self._with_options = options


class _Context:
    """What `_SelectInLoader._load_for_path` reads of a query: 2.1.0 to 2.1.8 read the statements, 2.1.9 the method."""

    __slots__ = ("_options", "execution_options", "populate_existing", "select_statement", "session")

    def __init__(self, session: Session, options: tuple[Any, ...]) -> None:
        self.session = session
        self.populate_existing = False
        self.execution_options = EMPTY_DICT
        self.select_statement = _Statement(options)
        self._options = options

    @property
    def compile_state(self) -> _Context:
        return self

    @property
    def user_passed_query(self) -> _Statement:
        return self.select_statement

    def _loader_strategy_options(self) -> tuple[Any, ...]:
        return self._options


def selectin_of(prop: RelationshipProperty[Any]) -> Any:
    """Return the loader of `SELECT ... IN` for a relationship.

    A many-to-many relationship of a joined subclass has to join the parents: its keys are columns of the base table.
    SQLAlchemy finds that out with an error up to 2.1.6, and with a deprecation warning since.
    """
    inherits_key = set(prop.parent.primary_key).isdisjoint(prop.parent.local_table.c)
    if prop.secondary is not None and prop.omit_join is None and inherits_key:
        prop.omit_join = False
    return prop._get_strategy(_SELECTIN)


def selectin_load(prop: RelationshipProperty[Any], states: Sequence[InstanceState[Any]], *, autoflush: bool) -> None:
    """Fill a relationship of objects of one result with one `SELECT ... IN` for each 500 of them."""
    first = states[0]
    session = first.session
    assert session is not None
    loader: Any = selectin_of(prop)
    loader._load_for_path(
        _Context(session, first.load_options),
        first.load_path,
        [(state, False) for state in states],
        None,
        prop.entity,
        None,
        None,
        EMPTY_DICT if autoflush else {"autoflush": False},
    )


def shorten_paths(states: Iterable[InstanceState[Any]]) -> None:
    """Forget how objects were reached where that is a long way and no option asks.

    SQLAlchemy notes every step from the query on. In a long chain of loads the notes would grow with its square, and
    each step would be compiled anew.

    Args:
        states: Objects of one result, reached the same way.
    """
    for state in states:
        long = len(state.load_path.path) > _LONG_PATH
        if not long or any(isinstance(option, Load) or getattr(option, "paths", ()) for option in state.load_options):
            return
        state.load_path = state.mapper.base_mapper._path_registry


def has_pending(state: InstanceState[Any], key: str) -> bool:
    """Tell whether a collection that is not loaded waits to be told of what was added and removed through a backref."""
    return key in getattr(state, "_pending_mutations", ())


def set_loaded(state: InstanceState[Any], key: str, value: Any) -> None:
    """Give an attribute the value the database has for it."""
    impl: Any = state.manager[key].impl
    impl.set_committed_value(state, state.dict, value)
