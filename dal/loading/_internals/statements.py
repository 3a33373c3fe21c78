"""What a statement that is compiled or executed says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.orm import InstanceState, Load, ORMExecuteState, RelationshipProperty

from dal.loading._internals.names import SELECT, WildcardLoad

__all__ = [
    "all_lazy",
    "apply_load",
    "current_root",
    "elements",
    "is_eager",
    "loaded_columns",
    "named_lazy",
    "needs_separate_statements",
    "options_of",
    "own_loads",
    "own_subclasses",
    "own_wildcard",
    "raises_on_unknown",
    "roots_of",
    "shared_of_execution",
    "statement_of",
]

_ALL_LAZY = "dal_all_lazy"
_EVERY_RELATIONSHIP = "relationship:*"
_SUBCLASSES = (("selectinload_polymorphic", True),)


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


def current_root(compile_state: Any) -> Any | None:
    """Return the entity the chain of loads started at, or None for a statement of the user's own."""
    path: Any = compile_state.current_path
    return path[0] if path else None


def raises_on_unknown(compile_state: Any) -> bool:
    """Tell whether this is the user's own statement, where a path that leads nowhere is an error."""
    return (
        not compile_state.current_path
        and not compile_state.compile_options._for_refresh_state
        and all(element._reconcile_to_other is None for element in elements(options_of(compile_state.select_statement)))
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


def elements(options: Iterable[Any]) -> Iterator[Any]:
    """Yield what SQLAlchemy's own loader options say, one attribute or class each."""
    for option in options:
        if isinstance(option, Load):
            yield from (element for element in option.context if element.strategy is not None)


def own_loads(options: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the natural path of each attribute that SQLAlchemy's own loader options speak of.

    What SQLAlchemy adds by itself to the statement of a subclass is marked to give way to options, and is left out.
    """
    for element in elements(options):
        if element._reconcile_to_other is None:
            path: Any = element.path.natural_path
            yield tuple(path)


def own_subclasses(options: Iterable[Any]) -> bool:
    """Tell whether the statement itself says which subclasses to load, with `selectin_polymorphic()`."""
    return any(element.strategy == _SUBCLASSES for element in elements(options))


def own_wildcard(compile_state: Any) -> bool:
    """Tell whether the statement itself has an option such as `raiseload("*")`, and remember whether it is `lazyload("*")`."""
    options: list[Any] = [option for option in options_of(compile_state.select_statement) if isinstance(option, WildcardLoad)]
    found = [option for option in options if str(option.path[0]).startswith("relationship:")]
    if any(option.strategy == SELECT for option in found):
        compile_state.attributes[_ALL_LAZY] = True
    return bool(found)


def all_lazy(context: Any) -> bool:
    """Tell whether the statement of an execution has `lazyload("*")`."""
    return _ALL_LAZY in context.compile_state.attributes


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


def named_lazy(state: InstanceState[Any], prop: RelationshipProperty[Any]) -> bool:
    """Tell whether the statement an object came from has `lazyload()` for one of its relationships, or all of its class."""
    named = [element for element in elements(state.load_options) if element.strategy == SELECT]
    if not named:
        return False
    path = tuple(state.load_path[prop].natural_path[1::2])
    meant = (path, (*path[:-1], _EVERY_RELATIONSHIP))
    return any(tuple(element.path.natural_path)[1::2] in meant for element in named)


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
