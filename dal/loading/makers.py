"""The words people write: `lazy()`, `batched()`, `eager(...)`, `hybrid(...)`, `strict()`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from sqlalchemy.orm import QueryableAttribute

from dal.errors import UsageError
from dal.loading.allow import AllowList
from dal.loading.batched import Batched
from dal.loading.modes import Lazy
from dal.loading.paths import Using, make_paths
from dal.loading.policy import Policy, merge, refuse_unless_policy
from dal.loading.strict import Only, Strict

__all__ = ["batched", "eager", "hybrid", "lazy", "strict"]

Attribute = QueryableAttribute[Any]

# Made once: a policy is a value, and these are asked for with every query.
_LAZY = Policy(mode=Lazy())
_BATCHED = Policy(mode=Batched())


def lazy() -> Policy:
    """Load each attribute by itself when it is touched: SQLAlchemy's default.

    Returns:
        A policy and ORM option.

    Example:
        >>> lazy()
        lazy()
    """
    return _LAZY


def batched(*, limit: int = 10_000, rows: int = 100_000, ramp: Sequence[int] = ()) -> Policy:
    """Load an attribute for all objects of the same result when it is touched on one of them.

    Args:
        limit: Objects filled by one touch at most, the touched one and those after it first.
        rows: Rows of a collection after which one touch fills no further objects (checked every 500 objects).
        ramp: Objects filled by the first, second ... touch of an attribute, such as `(8, 64, 500)`: where usually only
            the first few objects are looked at. The last number holds from then on.

    Returns:
        A policy and ORM option.

    Raises:
        UsageError: A number is below 1.

    Example:
        >>> batched(limit=500)
        batched()
    """
    if limit == 10_000 and rows == 100_000 and not ramp:
        return _BATCHED
    for name, number in (("limit", limit), ("rows", rows), *(("ramp", step) for step in _several(ramp, "batched(ramp=...)"))):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UsageError(f"batched({name}={number!r}) is not accepted", hint="write a whole number, 1 or more")
    return Policy(mode=Batched(limit, rows, tuple(ramp)))


def eager(*attributes: Attribute | tuple[Attribute, ...], depth: int = 1, using: Using | None = None) -> Policy:
    """Load related data together with the query.

    Args:
        attributes: Relationships, or deferred columns. Each hangs on every path named before it that ends at its
            class, the statement's entity itself first; a tuple is one explicit path.
        depth: How often a self-referential relationship is followed.
        using: `"joined"`, `"selectin"` or `"subquery"`; by default to-one relationships are joined and collections
            come by `SELECT ... IN`.

    Returns:
        A policy and ORM option. It says nothing of other attributes: the next policy outwards does.

    Raises:
        UsageError: Something is not a mapped attribute. An attribute that no path reaches is refused when the
            statement is compiled, before it is sent.

    Example:
        >>> eager(User.orders, Order.items)  # doctest: +SKIP
        eager(User.orders, Order.items)
    """
    return Policy(make_paths(attributes, depth=depth, using=using))


def hybrid(*, eager: Iterable[Attribute | tuple[Attribute, ...]], otherwise: Policy | None = None) -> Policy:
    """Load what is always needed with the query, and the rest by another policy.

    Args:
        eager: As for `eager()`.
        otherwise: The policy for everything else; `batched()` by default.

    Returns:
        A policy and ORM option.

    Raises:
        UsageError: Something is not a mapped attribute, or `otherwise` is no policy.

    Example:
        >>> hybrid(eager=[User.profile], otherwise=batched())  # doctest: +SKIP
        hybrid(eager=[User.profile], otherwise=batched())
    """
    rest = batched() if otherwise is None else refuse_unless_policy(otherwise, "hybrid(otherwise=...)")
    return merge([Policy(make_paths(_several(eager, "hybrid(eager=...)"))), rest])


def strict(
    *,
    columns: bool = False,
    only: Only = "all",
    action: Literal["raise", "warn"] = "raise",
    allow: AllowList | Iterable[str | Attribute] = (),
) -> Policy:
    """Refuse to load on the way what the query did not load.

    Args:
        columns: Also refuse deferred columns, columns of sub-tables and rows expired by a commit.
        only: `"all"`; `"to_many"` lets to-one relationships load; `"n_plus_one"` lets an object that came alone load
            what it wants, and refuses where others of the same result miss the same.
        action: `"raise"` NotLoaded, or `"warn"` with NotLoadedWarning and load.
        allow: Attributes that may still be loaded: an `AllowList`, attributes, or names such as
            `"User.orders"`.

    Returns:
        A policy and ORM option.

    Raises:
        UsageError: An argument is not one of these.

    Example:
        >>> strict(action="warn", allow=["User.orders"])
        strict()
    """
    if only not in get_args(Only):
        raise UsageError(f"strict(only={only!r}) is not accepted", hint=f"write one of {', '.join(get_args(Only))}")
    if action not in {"raise", "warn"}:
        raise UsageError(f"strict(action={action!r}) is not accepted", hint="write 'raise' or 'warn'")
    if not isinstance(columns, bool):
        raise UsageError(f"strict(columns={columns!r}) is not accepted", hint="write True or False")
    return Policy(mode=Strict(columns, only, action, _allow_list(allow)))


def _allow_list(allow: AllowList | Iterable[str | Attribute]) -> AllowList:
    if isinstance(allow, AllowList):
        return allow
    return AllowList(
        str(each) if isinstance(each, QueryableAttribute) else each for each in _several(allow, "strict(allow=...)")
    )


def _several(given: Any, where: str) -> list[Any]:
    """Return the items of what has to be a list."""
    if isinstance(given, (str, QueryableAttribute)) or not isinstance(given, Iterable):
        raise UsageError(f"{where}: {given!s} is not a list", hint=f"write [{given!s}]")
    return list(given)
