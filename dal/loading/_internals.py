"""The private names of SQLAlchemy 2.1 this room stands on, and the check that they are there.

Every other file of the room uses public names only. `missing()` says which hooks this SQLAlchemy lacks; where one is
missing, `fallback.py` takes over with public API and one statement more a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any
from weakref import WeakSet

from greenlet import getcurrent
from sqlalchemy.orm import (
    InstanceState,
    Load,
    Mapper,
    ORMExecuteState,
    RelationshipProperty,
    Session,
    attributes,
    lazyload,
    path_registry,
    strategies,
)
from sqlalchemy.orm.base import PassiveFlag as PassiveFlag
from sqlalchemy.orm.interfaces import CompileStateOption as CompileStateOption
from sqlalchemy.orm.interfaces import LoaderStrategy
from sqlalchemy.util import EMPTY_DICT, concurrency

Touched = Callable[[InstanceState[Any], PassiveFlag], Any]

_everything: Any = type(lazyload("*"))
_default_token: Any = getattr(path_registry, "_DEFAULT_TOKEN", None)
_deferred_loader: Any = getattr(strategies, "_DeferredColumnLoader", None)

_SELECT_STRATEGY = (("lazy", "select"),)
_SELECTIN_STRATEGY = (("lazy", "selectin"),)
_DEFERRED_STRATEGY = (("deferred", True), ("instrument", True))
_SUBCLASS_STRATEGY = (("selectinload_polymorphic", True),)
_LONG_PATH = 64
_NEVER_SWAPPED = frozenset({"noload", None, "write_only", "dynamic"})


@cache
def missing() -> list[str]:
    """Name the private hooks that this version of SQLAlchemy does not have."""
    wanted = {
        "AttributeImpl.callable_": hasattr(getattr(attributes, "_AttributeImpl", None), "callable_"),
        "_SelectInLoader._load_for_path": hasattr(getattr(strategies, "_SelectInLoader", None), "_load_for_path"),
        "_LazyLoader._load_for_state": hasattr(getattr(strategies, "_LazyLoader", None), "_load_for_state"),
        "_DeferredColumnLoader._load_for_state": hasattr(_deferred_loader, "_load_for_state"),
        "_WildcardLoad._set_relationship_strategy": hasattr(_everything, "_set_relationship_strategy"),
        "_DEFAULT_TOKEN": _default_token is not None,
        "concurrency.in_greenlet": hasattr(concurrency, "in_greenlet"),
    }
    return [name for name, found in wanted.items() if not found]


# What a statement says.


def options_of(statement: Any) -> tuple[Any, ...]:
    """Return the options of a statement, also those given before `with_only_columns()`."""
    own: tuple[Any, ...] = getattr(statement, "_with_options", ())
    replaced = getattr(statement, "_memoized_select_entities", ())
    if not replaced:
        return own
    return (*(option for entities in replaced for option in entities._with_options), *own)


def statement_of(compile_state: Any) -> Any:
    """Return the statement that is being compiled."""
    return compile_state.select_statement


def roots_of(compile_state: Any, mapper_entities: Sequence[Any] | None = None) -> list[Any]:
    """Return the entities a statement selects: mappers and inspected aliases."""
    entities = compile_state._lead_mapper_entities if mapper_entities is None else mapper_entities
    return [entity.entity_zero for entity in entities if entity.entity_zero is not None]


def lead_entities(compile_state: Any) -> Sequence[Any]:
    """Return what `roots_of` takes its entities from."""
    found: Sequence[Any] = compile_state._lead_mapper_entities
    return found


def current_root(compile_state: Any) -> Any | None:
    """Return the entity the chain of loads started at, or None for a statement of the user's own."""
    path: Any = compile_state.current_path
    return path[0] if path else None


def raises_on_unknown(compile_state: Any) -> bool:
    """Tell whether this is the user's own statement, where a path that leads nowhere is an error."""
    return (
        not compile_state.current_path
        and not compile_state.compile_options._for_refresh_state
        and all(element._reconcile_to_other is None for element in _elements(options_of(compile_state.select_statement)))
    )


def needs_separate_statements(compile_state: Any) -> bool:
    """Tell whether a join would change or break the statement: locks, groups, distinct, textual statements."""
    statement = compile_state.select_statement
    return bool(
        not hasattr(statement, "_group_by_clauses")
        or statement._for_update_arg is not None
        or statement._group_by_clauses
        or statement._distinct
    )


def _elements(options: Iterable[Any]) -> Iterator[Any]:
    """Yield what SQLAlchemy's own loader options say, one attribute or class each."""
    for option in options:
        if isinstance(option, Load):
            yield from (element for element in option.context if element.strategy is not None)


def own_loads(options: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the natural path of each attribute that SQLAlchemy's own loader options speak of.

    What SQLAlchemy adds by itself to the statement of a subclass is marked to give way to options, and is left out.
    """
    for element in _elements(options):
        if element._reconcile_to_other is None:
            path: Any = element.path.natural_path
            yield tuple(path)


def own_subclasses(options: Iterable[Any]) -> bool:
    """Tell whether the statement itself says which subclasses to load, with `selectin_polymorphic()`."""
    return any(element.strategy == _SUBCLASS_STRATEGY for element in _elements(options))


def own_wildcard(options: Iterable[Any]) -> bool:
    """Tell whether the statement itself has an option such as `lazyload("*")` or `raiseload("*")`."""
    found: list[Any] = [option for option in options if isinstance(option, _everything)]
    return any(str(option.path[0]).startswith("relationship:") for option in found)


def apply_load(load: Any, compile_state: Any, mapper_entities: Sequence[Any] | None) -> None:
    """Let one of SQLAlchemy's loader options act on a statement that is being compiled."""
    if mapper_entities is None:
        load.process_compile_state(compile_state)
    else:
        load.process_compile_state_replaced_entities(compile_state, mapper_entities)


def shared_of_execution(context: Any, make: Callable[[], Any]) -> Any:
    """Return one object for all statements that belong to one execution, made at the first call."""
    top = context.top_level_context
    return make() if top is None else top.attributes.setdefault("dal_batch", make())


# A strategy for everything a policy's `otherwise` speaks of: nothing is loaded with the row.


@RelationshipProperty.strategy_for(lazy="dal_on_touch")
class _OnTouch(LoaderStrategy):
    """Load nothing with the row, whatever the mapping says: the attribute's first touch asks the policy."""

    __slots__ = ()

    def _mapped(self) -> Any | None:
        lazy = self.parent_property.lazy
        if lazy in _NEVER_SWAPPED or lazy in {"select", True}:
            return self.parent_property.strategy
        return self.parent_property._get_strategy(_SELECT_STRATEGY) if self._has_class_level_loader() else None

    def _has_class_level_loader(self) -> bool:
        return bool(self.parent_property._get_strategy(_SELECT_STRATEGY).is_class_level)

    def setup_query(self, *arguments: Any, **options: Any) -> None:
        mapped = self._mapped()
        if mapped is not None:
            mapped.setup_query(*arguments, **options)

    def create_row_processor(self, context: Any, query_entity: Any, path: Any, loadopt: Any, *rest: Any) -> None:
        mapped = self._mapped()
        if mapped is not None:
            mapped.create_row_processor(context, query_entity, path, None, *rest)


def default_strategy(compile_state: Any, mapper_entities: Sequence[Any] | None) -> None:
    """Leave every relationship that no option names to its first touch."""
    if {"_WildcardLoad._set_relationship_strategy", "_DEFAULT_TOKEN"} & {*missing()}:
        everything: Any = lazyload("*")
    else:
        everything = _everything()._set_relationship_strategy(_default_token, {"lazy": "dal_on_touch"})
    apply_load(everything, compile_state, mapper_entities)


# Where SQLAlchemy asks for what is not there.


_ours: WeakSet[Callable[..., Any]] = WeakSet()


def swap_touch(mapper: Mapper[Any], key: str, make: Callable[[Touched], Touched]) -> None:
    """Put a function in front of the class-level loader of an attribute, once."""
    attribute = mapper.class_manager.get(key)
    impl: Any = attribute.impl if attribute is not None else None
    stock = getattr(impl, "callable_", None)
    if stock is not None and stock not in _ours:
        impl.callable_ = make(stock)
        _ours.add(impl.callable_)


def swap_deferred(mapper: Mapper[Any], key: str, make: Callable[[Touched], Touched]) -> None:
    """Put a function in front of the loader that `defer()` options use for a column."""
    prop: Any = mapper.attrs[key]
    strategy = prop._get_strategy(_DEFERRED_STRATEGY)
    if type(strategy) is _deferred_loader:
        swapped: Any = _new_deferred(prop, _DEFERRED_STRATEGY)
        swapped.is_class_level = strategy.is_class_level
        swapped.make = make
        prop._strategies[_DEFERRED_STRATEGY] = swapped
        if prop.strategy is strategy:
            prop.strategy = swapped


class _Deferred(_deferred_loader or object):  # type: ignore[misc]
    """SQLAlchemy's deferred loader, with the policy asked first."""

    __slots__ = ("make",)

    make: Callable[[Touched], Touched]

    def _load_for_state(self, state: Any, passive: PassiveFlag) -> Any:
        return self.make(super()._load_for_state)(state, passive)


_new_deferred: Any = _Deferred


def swap_expired(mapper: Mapper[Any], make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put a function in front of the loader of expired columns and columns of sub-tables, once."""
    manager: Any = mapper.class_manager
    stock = manager.expired_attribute_loader
    if stock not in _ours:
        manager.expired_attribute_loader = make(stock)
        _ours.add(manager.expired_attribute_loader)


def select_touch(prop: RelationshipProperty[Any]) -> Touched | None:
    """Return the loader of `lazy="select"` for a relationship that is mapped otherwise."""
    strategy: Any = prop._get_strategy(_SELECT_STRATEGY)
    loader: Touched = strategy._load_for_state
    return loader


def by_primary_key(prop: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship can be answered from the identity map by primary key."""
    strategy: Any = prop._get_strategy(_SELECT_STRATEGY)
    return bool(strategy.use_get)


def without_sql(passive: PassiveFlag) -> PassiveFlag:
    """Return the flags that ask for an answer from the identity map or from nowhere."""
    return (passive ^ PassiveFlag.SQL_OK) | PassiveFlag.RELATED_OBJECT_OK


def named_lazy(state: InstanceState[Any], prop: RelationshipProperty[Any]) -> bool:
    """Tell whether the statement an object came from has `lazyload()` for one of its relationships."""
    named = [element for element in _elements(state.load_options) if element.strategy == _SELECT_STRATEGY]
    if not named:
        return False
    path = tuple(state.load_path[prop].natural_path[1::2])
    return any(tuple(element.path.natural_path)[1::2] == path for element in named)


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


def is_async(session: Session, mapper: Mapper[Any]) -> bool:
    """Tell whether a session works on an asyncio engine."""
    return session.get_bind(mapper).dialect.is_async


def deferred_group(mapper: Mapper[Any], key: str) -> list[str]:
    """Return the column attributes that are loaded together with a deferred one."""
    group = mapper.attrs[key].group
    if not group:
        return [key]
    return [prop.key for prop in mapper.column_attrs if prop.group == group and prop.deferred]


def is_eager(execution: ORMExecuteState) -> bool:
    """Tell whether a statement belongs to a query that loads eagerly, and not to a touch."""
    return "sa_top_level_orm_context" in execution.execution_options


def loaded_columns(execution: ORMExecuteState) -> tuple[InstanceState[Any] | None, set[str]]:
    """Return the object whose deferred columns a statement loads, and the columns; None for any other statement."""
    if not execution.is_column_load:
        return None, set()
    state: InstanceState[Any] | None = getattr(execution.load_options, "_refresh_state", None)
    named: Iterable[str] | None = getattr(getattr(execution.statement, "_compile_options", None), "_only_load_props", None)
    if state is None or not named:
        return None, set()
    keys = set(named) - state.dict.keys()
    return (state, keys) if keys and keys.isdisjoint(state.expired_attributes) else (None, set())


def flushing(session: Session) -> bool:
    """Tell whether the session is inside a flush."""
    return bool(session._flushing)


# The load itself.


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

    SQLAlchemy up to 2.1.6 takes some many-to-many relationships of joined subclasses for ones whose keys it can do
    without; it is told to join them then, as it does itself since.
    """
    try:
        return prop._get_strategy(_SELECTIN_STRATEGY)
    except IndexError:
        prop.omit_join = False
        return prop._get_strategy(_SELECTIN_STRATEGY)


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


def waits(session: Session) -> bool:
    """Tell whether a session is bound to an asyncio engine as a whole."""
    bind = session.bind
    return bind is not None and bind.dialect.is_async


def has_pending(state: InstanceState[Any], key: str) -> bool:
    """Tell whether a collection that is not loaded waits to be told of what was added and removed through a backref."""
    return key in getattr(state, "_pending_mutations", ())


def set_loaded(state: InstanceState[Any], key: str, value: Any) -> None:
    """Give an attribute the value the database has for it."""
    impl: Any = state.manager[key].impl
    impl.set_committed_value(state, state.dict, value)


def in_greenlet() -> bool:
    """Tell whether a wait for an asyncio driver is possible here."""
    return "concurrency.in_greenlet" in missing() or concurrency.in_greenlet()


def current_task() -> object:
    """Return what tells one asyncio task that loads from another."""
    return getcurrent()
