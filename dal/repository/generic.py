"""What a repository is made of: the class of `Repository[User]`, read when a subclass is created, and a session."""

from __future__ import annotations

import sys
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

from sqlalchemy.orm import Session

from dal.errors import UsageError

__all__ = ["argument_of", "refuse_unless_session", "resolve"]

S = TypeVar("S")


def argument_of(cls: type, root: type, attribute: str) -> Any:
    """Return the entity of a subclass of `root`: a class, a forward reference, or a type variable still open.

    Args:
        cls: The class being created.
        root: The generic class whose only argument is asked for.
        attribute: Where `root` and its subclasses keep their argument.

    Example:
        >>> from typing import Generic
        >>> T = TypeVar("T")
        >>> class Root(Generic[T]):
        ...     argument = T
        >>> class Numbers(Root[int]): ...
        >>> argument_of(Numbers, Root, "argument")
        <class 'int'>
    """
    for base in (*cls.__dict__.get("__orig_bases__", ()), *cls.__bases__):
        origin = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, root)):
            continue
        argument = getattr(origin, attribute)
        if isinstance(argument, TypeVar) and origin is not base:
            parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
            argument = get_args(base)[parameters.index(argument)]
        return argument
    return getattr(root, attribute)


def resolve(argument: Any, cls: type) -> Any:
    """Return the class behind a generic argument.

    Raises:
        UsageError: The argument is still a type variable, or a name that its module does not have.
    """
    name = argument.__forward_arg__ if isinstance(argument, ForwardRef) else argument
    if isinstance(name, str):
        found = getattr(sys.modules.get(cls.__module__), name, None)
        if found is None:
            raise UsageError(
                f"{cls.__name__} is made for {name!r}, which its module {cls.__module__} does not have",
                hint=f"import {name} there, or write {cls.__name__}(session, {name})",
            )
        return found
    if isinstance(argument, TypeVar):
        raise UsageError(
            f"{cls.__name__} does not say which entity it is for",
            hint=f"write class Users({cls.__name__}[User]), or {cls.__name__}(session, User)",
        )
    return argument


def refuse_unless_session(given: S, kinds: tuple[type, ...], repository: str) -> S:
    """Return a session as it is, or say what was given instead.

    Args:
        given: What the caller passed.
        kinds: The classes of sessions that fit.
        repository: The name of the class being made.

    Raises:
        UsageError: It is no such session.
    """
    if isinstance(given, kinds):
        return given
    shown = getattr(given, "__name__", type(given).__name__)
    is_async = repository.startswith("Async")
    if isinstance(given, Session) or hasattr(given, "sync_session"):
        hint = f"write {'Repository' if is_async else 'AsyncRepository'}(session, User)"
    else:
        hint = f"{'async ' if is_async else ''}with db.session() as session: users = {repository}(session, User)"
    raise UsageError(f"{repository} takes the application's {kinds[0].__name__}, not {shown}", hint=hint)
