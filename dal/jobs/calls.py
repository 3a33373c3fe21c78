"""What a job calls, written down so that another process finds it: a module-level function by name, its arguments as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from dal.errors import UsageError

__all__ = ["find", "reference", "refuse_unless_json"]


def reference(thing: Any, what: str) -> str:
    """Name a function or class so that a worker finds it.

    Args:
        thing: What to name.
        what: What it is to the caller, for the error: "the function of a job".

    Returns:
        Such as `app.mail:send_welcome`.

    Raises:
        UsageError: A worker could not import it.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not module or not name or not callable(thing):
        raise UsageError(f"{what} is {thing!r}, which has no name of its own", hint="write a function in a module")
    if module == "__main__" or "<locals>" in name or "<lambda>" in name:
        where = "in the program that was started" if module == "__main__" else "inside a function"
        raise UsageError(
            f"{what}, {name}, is defined {where}, where a worker cannot import it",
            hint=f"move it to the top level of a module: from app.work import {name.rpartition('.')[2]}",
        )
    written = f"{module}:{name}"
    if find(written) is not thing:
        raise UsageError(
            f"{what}, {written}, is not what a worker would find under that name",
            hint="a decorator may have replaced it: give the name that the module has for it",
        )
    return written


def find(written: str) -> Any:
    """Import what `reference` named.

    Raises:
        UsageError: It is not there: the worker runs other code than whoever made the job.
    """
    module, _, name = written.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{written} is not to be found here: {error}",
            hint="start the worker in the application's folder and with the application's code",
        ) from error
    return found


def refuse_unless_json(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Refuse arguments that JSON does not carry as they are.

    Raises:
        UsageError: Names the argument.
    """
    named = [(f"argument {number} of {function.__qualname__}", value) for number, value in enumerate(args, 1)]
    named += [(f"{name}= of {function.__qualname__}", value) for name, value in kwargs.items()]
    for name, value in named:
        problem = _problem(value)
        if problem:
            raise UsageError(
                f"{name} is {value!r}: {problem}, and a job keeps its arguments as JSON",
                hint="give what finds it again, such as a primary key or a path, and load it inside the job",
            )


def _problem(value: object) -> str:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            return "its keys are not all texts"
        return next(filter(None, map(_problem, value.values())), "")
    if isinstance(value, list):
        return next(filter(None, map(_problem, value)), "")
    if isinstance(value, tuple):
        return "a tuple would come back as a list"
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        return "PostgreSQL stores neither NUL nor half a surrogate pair"
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return f"a {type(value).__name__} is not JSON" if not isinstance(value, float) else "it is not a finite number"
    return ""
