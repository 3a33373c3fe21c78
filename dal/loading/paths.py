"""What to load: attributes, hung on every path that leads to their class.

`eager(User.orders, Order.items)` names two attributes; against a statement that selects `User` they become the chains
`User.orders` and `User.orders -> Order.items`. A tuple is one explicit chain. Names from a configuration file
(`"User.orders"`) are resolved the same way, by the class names met on the way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy import inspect
from sqlalchemy.orm import ColumnProperty, Mapper, QueryableAttribute, RelationshipProperty

from dal.errors import UsageError

__all__ = ["Chain", "Named", "Path", "Using", "chains", "make_paths"]

Using = Literal["joined", "selectin", "subquery"]


@dataclass(frozen=True, slots=True)
class Named:
    """An attribute by name, `User.orders`, found when a statement shows its classes."""

    entity: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.entity}.{self.attribute}"


Step = QueryableAttribute[Any] | Named


@dataclass(frozen=True, slots=True)
class Path:
    """One thing to load.

    Args:
        steps: One attribute, or several for an explicit chain from the statement's entity.
        depth: How often a self-referential attribute is followed.
        using: The strategy, or None to pick it by cardinality.
        required: Whether a statement that it does not lead from is an error.
    """

    steps: tuple[Step, ...]
    depth: int = 1
    using: Using | None = None
    required: bool = True

    def __str__(self) -> str:
        return " -> ".join(str(step) for step in self.steps)

    def optional(self) -> Path:
        """Return the same path, silent where a statement does not reach it."""
        return replace(self, required=False) if self.required else self


@dataclass(frozen=True, slots=True)
class Chain:
    """A path resolved against a statement: relationships from its entity on, in order."""

    root: Any
    attributes: tuple[QueryableAttribute[Any], ...]
    using: Using | None

    @property
    def end(self) -> Any:
        """The entity the chain arrives at: a mapper or an inspected alias."""
        return _target(self.attributes[-1])

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells two chains of one root apart."""
        return (self.root, *(attribute.property for attribute in self.attributes))


def make_paths(given: Iterable[object], *, depth: int = 1, using: Using | None = None) -> tuple[Path, ...]:
    """Check what a caller wrote and turn it into paths.

    Args:
        given: Mapped attributes, tuples of them, or names from a configuration.
        depth: How often a self-referential attribute is followed, 1 or more.
        using: The strategy for all of them.

    Returns:
        The paths, in the order given.

    Raises:
        UsageError: Something is not a mapped attribute, or depth or strategy is out of range.
    """
    if using is not None and using not in get_args(Using):
        raise UsageError(f"using={using!r} is not a loading strategy", hint=f"write one of {', '.join(get_args(Using))}")
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise UsageError(f"depth={depth!r} is not accepted", hint="write a whole number, 1 or more")
    paths = tuple(
        Path(tuple(_step(step) for step in (item if isinstance(item, tuple) else (item,))), depth, using) for item in given
    )
    if any(not path.steps for path in paths):
        raise UsageError("an empty tuple is no path", hint="write eager((Category.children, Category.children))")
    if depth > 1 and not any(_self_referential(path.steps[-1]) for path in paths):
        raise UsageError(f"depth={depth} needs a self-referential attribute", hint="eager(Category.children, depth=3)")
    return paths


def _step(given: object) -> Step:
    if isinstance(given, Named):
        return given
    if isinstance(given, str):
        raise UsageError(f"{given!r} is a string where an attribute is wanted", hint="write the attribute itself: User.orders")
    prop = getattr(given, "property", None) if isinstance(given, QueryableAttribute) else None
    if not isinstance(prop, (RelationshipProperty, ColumnProperty)):
        shown = str(given) if isinstance(given, QueryableAttribute) else repr(given)
        raise UsageError(f"{shown} is not a mapped relationship or column", hint="write an attribute of a class: User.orders")
    assert isinstance(given, QueryableAttribute)
    return _checked(given)


def _checked(attribute: QueryableAttribute[Any]) -> QueryableAttribute[Any]:
    prop = attribute.property
    if isinstance(prop, RelationshipProperty) and prop.lazy in {"dynamic", "write_only"}:
        raise UsageError(
            f"{attribute} is mapped lazy={prop.lazy!r} and cannot be loaded as a whole",
            hint=f"select from it: {prop.key}.select()",
        )
    return attribute


def _self_referential(step: Step) -> bool:
    if isinstance(step, Named):
        return True
    prop = step.property
    return isinstance(prop, RelationshipProperty) and prop.mapper.common_parent(prop.parent)


def _target(attribute: QueryableAttribute[Any]) -> Any:
    of_type = getattr(attribute, "_of_type", None)
    return of_type if of_type is not None else attribute.property.entity


def chains(paths: Sequence[Path], roots: Sequence[Any], *, strict: bool) -> Iterator[Chain]:
    """Resolve paths against the entities of a statement.

    Args:
        paths: What to load; the first that speaks of a chain wins.
        roots: The entities selected: mappers and inspected aliases.
        strict: Whether a required path that leads nowhere is an error.

    Yields:
        Chains, each after the chains it continues.

    Raises:
        UsageError: A required path starts at none of the entities; the message says where it broke.
    """
    seen: dict[tuple[Any, ...], Chain] = {}
    for path in paths:
        found = [chain for start in _starts(path, roots, seen) for chain in _follow(path, start)]
        if not found and path.required and strict:
            raise _unreachable(path, roots, seen.values())
        for chain in found:
            if chain.key not in seen:
                seen[chain.key] = chain
                yield chain


def _starts(path: Path, roots: Sequence[Any], seen: dict[tuple[Any, ...], Chain]) -> list[tuple[Any, Chain | None]]:
    at_roots: list[tuple[Any, Chain | None]] = [(root, None) for root in roots]
    if len(path.steps) > 1:
        return at_roots
    return at_roots + [(chain.end, chain) for chain in seen.values() if _is_relationship(chain.attributes[-1])]


def _follow(path: Path, start: tuple[Any, Chain | None]) -> Iterator[Chain]:
    entity, before = start
    root = entity if before is None else before.root
    attributes = () if before is None else before.attributes
    steps = list(path.steps)
    if _self_referential(steps[-1]):
        steps += [steps[-1]] * (path.depth - 1)
    done: list[Chain] = []
    for step in steps:
        attribute = _attribute_of(entity, step, at_root=not attributes)
        if attribute is None:
            break
        attributes = (*attributes, attribute)
        done.append(Chain(root, attributes, path.using))
        entity = _target(attribute) if _is_relationship(attribute) else None
    if len(done) == len(steps):
        yield from done


def _is_relationship(attribute: QueryableAttribute[Any]) -> bool:
    return isinstance(attribute.property, RelationshipProperty)


def _attribute_of(entity: Any, step: Step, *, at_root: bool) -> QueryableAttribute[Any] | None:
    if entity is None:
        return None
    if isinstance(step, Named):
        return _named(entity, step, at_root=at_root)
    owner: Any = inspect(step.parent)
    if entity.is_aliased_class or owner.is_aliased_class:
        return step if owner is entity else _on_alias(entity, owner, step)
    if entity.isa(owner) or (at_root and owner.isa(entity)):
        return step
    return None


def _on_alias(entity: Any, owner: Any, step: QueryableAttribute[Any]) -> QueryableAttribute[Any] | None:
    holder = None if owner.is_aliased_class else _holder(entity, owner)
    found: QueryableAttribute[Any] | None = getattr(holder, step.key, None)
    return found


def _holder(entity: Any, owner: Mapper[Any]) -> Any | None:
    """Return what carries the attributes of a mapper in an alias: the alias, or its part for a subclass."""
    if entity.mapper.isa(owner):
        return entity.entity
    return getattr(entity.entity, owner.class_.__name__, None) if owner in entity.with_polymorphic_mappers else None


def _named(entity: Any, step: Named, *, at_root: bool) -> QueryableAttribute[Any] | None:
    mapper: Mapper[Any] = entity.mapper
    below = mapper.self_and_descendants if at_root or entity.is_aliased_class else ()
    owner = next((each for each in (*mapper.iterate_to_root(), *below) if each.class_.__name__ == step.entity), None)
    if owner is None:
        return None
    if step.attribute in owner.attrs:
        holder = _holder(entity, owner) if entity.is_aliased_class else owner.class_
        attribute: QueryableAttribute[Any] | None = getattr(holder, step.attribute, None)
        return None if attribute is None else _checked(attribute)
    near = difflib.get_close_matches(step.attribute, list(owner.attrs.keys()), n=1)
    raise UsageError(
        f"{step} is named by a policy, but {step.entity} has no attribute {step.attribute!r}",
        hint=f"did you mean {step.entity}.{near[0]}?" if near else f"it has {', '.join(owner.attrs.keys())}",
    )


def _unreachable(path: Path, roots: Sequence[Any], seen: Iterable[Chain]) -> UsageError:
    if not roots:
        return UsageError(f"{path} cannot be loaded: the statement selects no mapped class", hint="select(User).options(...)")
    selected = ", ".join(root.class_.__name__ for root in roots)
    broken, at = _break(path, roots)
    reached = sorted({chain.end.class_.__name__ for chain in seen if _is_relationship(chain.attributes[-1])})
    owner = broken.entity if isinstance(broken, Named) else broken.parent.class_.__name__
    where = (
        f"the path {path} breaks at {broken}: {at} is no {owner}"
        if len(path.steps) > 1
        else f"{broken} is not reached: nothing before it arrives at {owner}"
    )
    return UsageError(
        f"{where}; the statement selects {selected}" + (f" and reaches {', '.join(reached)}" if reached else ""),
        hint=f"name a relationship that arrives at {owner} before {broken}, or select {owner}",
    )


def _break(path: Path, roots: Sequence[Any]) -> tuple[Step, str]:
    """Return the first step that no entity carries, and the name of the class the path stood at."""
    entity = roots[0]
    for number, step in enumerate(path.steps):
        attribute = _attribute_of(entity, step, at_root=number == 0)
        if attribute is None:
            return step, entity.class_.__name__ if entity is not None else str(path.steps[number - 1])
        entity = _target(attribute) if _is_relationship(attribute) else None
    return path.steps[-1], roots[0].class_.__name__
