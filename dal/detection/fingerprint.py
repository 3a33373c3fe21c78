"""The shape of a statement: its text without values, comments and the length of its lists.

Values never leave this file: a literal is replaced, a parameter becomes a salted hash that says only "same" or "different".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

__all__ = ["LONGEST", "fingerprint", "literals", "mark", "marks"]

LONGEST = 4_000
_MOST_MARKS = 16
_NOISE = re.compile(
    r"""--[^\n]*|/\*.*?\*/            # comments
      | \b[eE]?'(?:[^'\\]|''|\\.)*'     # strings
      | '(?:[^']|'')*'
      | (?<![\w.$%:@"`])\d+(?:\.\d+)?\b # numbers that stand alone
      | \s+""",
    re.VERBOSE | re.DOTALL,
)
_LITERAL = re.compile(r"""'(?:[^']|'')*'|(?<![\w.$%:@"`\[])\d+(?:\.\d+)?\b""")
_LIST = re.compile(r"\(\s*(?:\?|%s|%\(\w+\)s|:\w+|\$\d+)(?:::\w+)?(?:\s*,\s*(?:\?|%s|%\(\w+\)s|:\w+|\$\d+)(?:::\w+)?)+\s*\)")
_SALT = object()


def _plain(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] in "-/" and text[:2] in ("--", "/*"):
        return " "
    return " " if text.isspace() else "?"


def fingerprint(sql: str) -> str:
    """Return the shape of a statement as text.

    Args:
        sql: The statement; what comes after its first 4,000 characters does not count.

    Example:
        >>> fingerprint("SELECT *  FROM t WHERE a = 5 -- hello")
        'SELECT * FROM t WHERE a = ?'
        >>> fingerprint("SELECT 1 FROM t WHERE a IN (1, 2, 3)")
        'SELECT ? FROM t WHERE a IN (?)'
    """
    return _LIST.sub("(?)", _NOISE.sub(_plain, sql[:LONGEST])).strip()


def literals(sql: str) -> list[tuple[int, str]]:
    """Return the literals of a text, each with the position where it stands."""
    return [(found.start(), found.group()) for found in _LITERAL.finditer(sql[:LONGEST])]


def mark(value: object) -> int:
    """Return a number that is equal for equal values and says nothing about them."""
    try:
        return hash((_SALT, value))
    except TypeError:
        return hash((_SALT, repr(value)[:500]))


def marks(parameters: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, int]:
    """Return the marks of the first parameters by name, or by position where they have none."""
    if not parameters:
        return {}
    if isinstance(parameters, dict) or isinstance(parameters, Mapping):  # noqa: SIM101  the first answer is the quick one
        pairs = parameters.items() if len(parameters) <= _MOST_MARKS else islice(parameters.items(), _MOST_MARKS)
        return {name: mark(value) for name, value in pairs}
    return {str(at): mark(value) for at, value in enumerate(parameters[:_MOST_MARKS])}
