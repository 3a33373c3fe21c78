"""Turn the paths of a policy into SQLAlchemy's loader options while a statement is compiled.

To-one relationships are joined, collections come by `SELECT ... IN`: the rows are not multiplied and a LIMIT keeps
counting parents. Where a join would change the statement (FOR UPDATE, GROUP BY, DISTINCT, textual SQL), everything
comes by `SELECT ... IN`. What the statement's own options say of an attribute is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.orm import Load, QueryableAttribute, RelationshipProperty, selectin_polymorphic

from dal.loading import _internals
from dal.loading.paths import Chain, Path, chains
from dal.loading.watch import watch

__all__ = ["expand"]


def expand(paths: Sequence[Path], compile_state: Any, entities: Sequence[Any] | None, *, on_touch: bool) -> None:
    """Apply a policy to a statement that is being compiled.

    Args:
        paths: What to load at once, the nearest policy's first.
        compile_state: SQLAlchemy's compile state.
        entities: The entities that replaced the statement's, or None.
        on_touch: Whether everything else waits for its first touch, whatever the mapping says.

    Raises:
        UsageError: A path leads from nothing that the statement selects.
    """
    options = _internals.options_of(_internals.statement_of(compile_state))
    start = _internals.current_root(compile_state)
    roots = [start] if start is not None else _internals.roots_of(compile_state, entities)
    own = {path[1::2] for path in _internals.own_loads(options)}
    separate = _internals.needs_separate_statements(compile_state)
    found = list(chains(paths, roots, strict=_internals.raises_on_unknown(compile_state)))
    if start is None and not _internals.own_subclasses(options):
        for load in _subclasses(found):
            _internals.apply_load(load, compile_state, entities)
    for chain in found:
        if tuple(attribute.property for attribute in chain.attributes) not in own:
            _internals.apply_load(_load(chain, separate=separate), compile_state, entities)
    if on_touch and not _internals.own_wildcard(compile_state):
        _internals.default_strategy(compile_state, entities)
    for root in _internals.roots_of(compile_state, entities):
        watch(root.mapper)


def _load(chain: Chain, *, separate: bool) -> Load:
    *before, last = chain.attributes
    first = chain.attributes[0]
    load = Load(chain.root if chain.root.is_aliased_class or chain.root.isa(first.parent) else first.parent)
    for attribute in before:
        load = load.defaultload(_bare(attribute))
    prop = last.property
    if not isinstance(prop, RelationshipProperty):
        return load.undefer(last)
    using = chain.using or ("selectin" if prop.uselist or separate else "joined")
    if using == "joined":
        return load.joinedload(last)
    if using == "subquery":
        return load.subqueryload(last)
    _internals.selectin_of(prop)
    return load.selectinload(last)


def _subclasses(found: Sequence[Chain]) -> Iterator[Any]:
    """Yield what loads the rows of subclasses that chains start at: SQLAlchemy loads their attributes only with them."""
    wanted: dict[Any, set[Any]] = {}
    for chain in found:
        root, owner = chain.root, chain.attributes[0].parent.mapper
        if not root.is_aliased_class and not root.isa(owner) and owner not in root.with_polymorphic_mappers:
            wanted.setdefault(root, set()).add(owner.class_)
    for root, classes in wanted.items():
        yield selectin_polymorphic(root.class_, classes)


def _bare(attribute: QueryableAttribute[Any]) -> QueryableAttribute[Any]:
    """Return the attribute without criteria of its own, which belong to the option that loads it."""
    plain: QueryableAttribute[Any] = getattr(attribute.parent.entity, attribute.key)
    of_type = getattr(attribute, "_of_type", None)
    return plain if of_type is None else plain.of_type(of_type.entity)
