"""Arguments of the wrong kind, each told with the line to write, before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dal.errors import UsageError

__all__ = ["checked_function", "checked_most", "checked_name", "checked_progress", "checked_rows", "checked_truth"]


def checked_rows(rows: Any) -> Iterable[Any]:
    """Return rows, if they are many.

    Raises:
        UsageError: They are one row, or none.
    """
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise UsageError(
            f"rows is a {type(rows).__name__}, not many rows", hint="write a list, even for one row: insert([row])"
        )
    return rows


def checked_most(most: Any) -> None:
    """Check `max_rejected=`.

    Raises:
        UsageError: It is no number of rows.
    """
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
        raise UsageError(f"max_rejected={most!r} is no number of rows", hint="write max_rejected=100, or leave it out")


def checked_progress(progress: Any) -> None:
    """Check `progress=`.

    Raises:
        UsageError: It is neither a truth value nor a function.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise UsageError(
            f"progress={progress!r} is neither True nor a function", hint="write progress=True, or a function of a FileProgress"
        )


def checked_function(given: Any, what: str, of: str) -> None:
    """Check an argument that is a function or None.

    Args:
        given: The argument.
        what: Its name.
        of: What the function is called with.

    Raises:
        UsageError: It is something else.
    """
    if given is not None and not callable(given):
        raise UsageError(f"{what}={given!r} is no function", hint=f"write {what}=a function of {of}")


def checked_truth(given: Any, what: str) -> None:
    """Check an argument that is True, False or None.

    Raises:
        UsageError: It is something else.
    """
    if given is not None and not isinstance(given, bool):
        raise UsageError(f"{what}={given!r} is neither True nor False", hint=f"write {what}=True, or leave it out")


def checked_name(given: Any, what: str) -> None:
    """Check an argument that is a name or None.

    Raises:
        UsageError: It is something else.
    """
    if given is not None and not isinstance(given, str):
        raise UsageError(f"{what}={given!r} is no name", hint=f"write {what}='flights of June'")
