"""Which tables a statement reads, and which it writes.

What SQLAlchemy built is asked for its tables. SQL as text is not parsed but taken at its worst: a text that only reads, by its
first word and the absence of others, comes from every name that is in it; any other spoils every name that is in it; one that
names nothing, such as CALL or DO, spoils everything. `execution_options(tables=["users"])` says it instead.

Bounds: a function that a SELECT calls and that writes is not seen; say `cache.spoil("audit", within=session)` beside it. What a
trigger writes, or a view reads, `Table(..., info={"tables": ["audit"]})` tells at the table with the trigger, or at the view.
What foreign keys of known tables do (ON DELETE CASCADE, SET NULL) is followed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Insert, MetaData, Table, Update
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause, TextClause

from dal.cache import _internals
from dal.errors import UsageError
from dal.written import DELETED, bare

__all__ = ["ALL", "NOTHING", "Touched", "names_of", "of_statement", "with_cascades", "with_deleted"]

_READING = frozenset({"select", "with", "values", "table", "show", "explain", "("})
_HARMLESS = frozenset(
    {"begin", "start", "savepoint", "release", "rollback", "abort", "commit", "end"}
    | {"set", "reset", "listen", "unlisten", "notify", "discard", "fetch", "close", "move", "declare"}
    | {"checkpoint", "vacuum", "analyze", "deallocate", "lock", "pragma", "use", "describe", "desc"}
)
_OPAQUE = frozenset(["call", "do", "execute", "exec", "load", "import", "prepare", "handler"])
_WRITING = re.compile(
    r"\b(insert|update|delete|merge|replace|truncate|drop|alter|create|copy|into|refresh|grant|revoke|call|do|rename)\b"
)
_DELETING = re.compile(r"\b(delete|merge|replace|truncate|drop|copy|call|do)\b")
_LOCKING = re.compile(r"\bfor\s+(no\s+key\s+)?update\b")
_ALSO = re.compile(r"\b(cascade|schema|database|owned)\b")
_NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_WORD = re.compile(r'"((?:[^"]|"")+)"|`([^`]+)`|([^\W\d][\w$]*)')


class Touched(NamedTuple):
    """The names of the tables a statement reads and writes; None where that can be any.

    A name is written once more with `DELETED` before it where rows may be gone.
    """

    reads: frozenset[str] | None
    writes: frozenset[str] | None


_NONE: frozenset[str] = frozenset()
NOTHING = Touched(_NONE, _NONE)
ALL = Touched(_NONE, None)
_of_compiled: WeakKeyDictionary[Any, Touched] = WeakKeyDictionary()
_metadata: WeakSet[MetaData] = WeakSet()
_adding = threading.Lock()


def of_statement(context: Any, statement: str) -> Touched:
    """Find out what a statement touches.

    Args:
        context: SQLAlchemy's execution context.
        statement: The SQL that is sent.

    Returns:
        What it touches.
    """
    named = context.execution_options.get("tables") if context.execution_options else None
    if named is not None:
        names = names_of([named] if isinstance(named, str) else named)
        return Touched(names, _NONE if _only_reads(context, statement) else with_deleted(names))
    compiled = context.compiled
    if compiled is None or context.isddl:
        return of_text(statement)
    found = _of_compiled.get(compiled)
    if found is None:
        found = _built(compiled, statement)
        _of_compiled[compiled] = found
    return found


def of_text(sql: str) -> Touched:
    """Find out what a text might touch.

    Args:
        sql: One statement or several.

    Returns:
        What it touches at the worst.

    Example:
        >>> sorted(of_text("SELECT name FROM users").reads)
        ['from', 'name', 'select', 'users']
    """
    plain = _NOISE.sub(" ", sql.replace("$$", " ")).casefold().strip()
    words = plain.split(None, 2)
    if not words:
        return NOTHING
    first = "(" if words[0].startswith("(") else words[0].rstrip(";")
    writing = _WRITING.search(_LOCKING.sub(" ", plain)) is not None
    if first in _READING and not writing:
        return Touched(_words(sql), _NONE)
    if words[:2] == ["commit", "prepared"]:
        return ALL
    if first in _HARMLESS and ";" not in plain.rstrip(";"):
        return NOTHING
    if first in _OPAQUE or _ALSO.search(plain):
        return ALL
    names = _words(sql)
    return Touched(_NONE, with_deleted(names) if _DELETING.search(plain) else names)


def with_deleted(names: Iterable[str]) -> frozenset[str]:
    """Return names with the marks that say that rows may be gone."""
    return frozenset(mark for name in names for mark in (name, DELETED + name))


def names_of(tables: Iterable[Any]) -> frozenset[str]:
    """Return the names of tables given as names, tables or mapped classes.

    Raises:
        UsageError: One of them is something else.
    """
    if isinstance(tables, str) or not isinstance(tables, Iterable):
        raise UsageError(f"tables={tables!r} is no list of tables", hint='write tables=["users", Order]')
    found: set[str] = set()
    for each in tables:
        if isinstance(each, str):
            found.add(bare(each))
        elif isinstance(each, Table):
            found |= _named(each)
        elif hasattr(each, "__mapper__"):
            for table in each.__mapper__.tables:
                found |= _named(table)
        else:
            raise UsageError(f"{each!r} is no table", hint="give names, tables or mapped classes: spoil('users', Order)")
    return frozenset(found)


def with_cascades(marks: Iterable[str]) -> frozenset[str]:
    """Return the tables that were written, with those whose rows the database changed along.

    Args:
        marks: Names, some with `DELETED` before them: of these the foreign keys are followed, as far as they are known here.
    """
    found = {mark for mark in marks if not mark.startswith(DELETED)}
    waiting = [mark.removeprefix(DELETED) for mark in marks if mark.startswith(DELETED)]
    followers = _followers() if waiting else {}
    followed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in followed:
            followed.add(name)
            found |= followers.get(name, _NONE)
            waiting += followers.get(name, _NONE)
    return frozenset(found)


_known_followers: tuple[int, dict[str, frozenset[str]]] = (-1, {})


def _followers() -> dict[str, frozenset[str]]:
    global _known_followers
    with _adding:
        known = list(_metadata)
    size = sum(len(metadata.tables) for metadata in known)
    if _known_followers[0] != size:
        found: dict[str, set[str]] = {}
        for metadata in known:
            for table in list(metadata.tables.values()):
                for key in table.foreign_keys:
                    if key.ondelete:
                        target = bare(key.target_fullname.rpartition(".")[0])
                        found.setdefault(target, set()).add(bare(table.name))
        _known_followers = (size, {name: frozenset(names) for name, names in found.items()})
    return _known_followers[1]


def _built(compiled: Any, statement: str) -> Touched:
    reads: set[str] = set()
    writes: set[str] = set()
    readable = False
    for built in _internals.statements_of(compiled):
        for element in visitors.iterate(built):
            if isinstance(element, Table):
                reads |= _named(element)
                readable = True
            elif getattr(element, "is_dml", False):
                writes |= _targets(element)
                readable = True
            elif isinstance(element, TextClause) or (isinstance(element, ColumnClause) and element.is_literal):
                reads |= _words(statement)
                if isinstance(built, TextClause) or not getattr(built, "is_dml", False):
                    text = of_text(statement)
                    if text.writes is None:
                        return ALL
                    writes |= text.writes
    if not readable and not reads:
        return of_text(statement)
    return Touched(frozenset(reads), frozenset(writes))


def _targets(dml: Any) -> set[str]:
    found: set[str] = set()
    for element in visitors.iterate(dml.table):
        if isinstance(element, Table):
            found |= _named(element)
            if isinstance(dml, Update):
                found |= _moved_along(element)
    return found if isinstance(dml, (Insert, Update)) else set(with_deleted(found))


def _moved_along(table: Table) -> set[str]:
    """Return the tables with a foreign key that follows a changed key of this one."""
    others = list(table.metadata.tables.values())
    return {bare(other.name) for other in others for key in other.foreign_keys if key.onupdate and key.references(table)}


def _named(table: Table) -> set[str]:
    if table.metadata not in _metadata:
        with _adding:
            _metadata.add(table.metadata)
    return {bare(table.name), *map(bare, table.info.get("tables", ()))}


def _only_reads(context: Any, statement: str) -> bool:
    if context.isinsert or context.isupdate or context.isdelete or context.isddl:
        return False
    return of_text(statement).writes == _NONE


def _words(sql: str) -> frozenset[str]:
    return frozenset(bare(found) for found in _each_word(sql))


def _each_word(sql: str) -> Iterator[str]:
    for quoted, ticked, word in _WORD.findall(sql):
        yield quoted or ticked or word
