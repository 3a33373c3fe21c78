"""Rows written one at a time: a flush, a commit or a statement for each.

Silent for executemany and bulk statements, for a savepoint set before each row (its error is to be kept apart), for a queue
whose jobs are taken one by one, for one row written again and again (progress, versions, counters), and for what a single
flush sends.
"""

from __future__ import annotations

import re

from dal.detection.advice import shortened
from dal.detection.findings import Finding, RowByRowWrites
from dal.detection.fingerprint import literals
from dal.detection.groups import WRITE, Group, Writes
from dal.detection.roles import roles
from dal.detection.scope import Scope

__all__ = ["judge"]

_LEAST = 3
_UPSERT = re.compile(r"\bON\s+(?:CONFLICT\s*(?:\((?P<keys>[^)]*)\))?|DUPLICATE\s+KEY)", re.IGNORECASE)
_SET = re.compile(r"""(\w+)["`]?\s*=""")


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the writes of a scope."""
    return [
        (_finding(group, group.writes), group)
        for group in scope.groups.values()
        if group.kind == WRITE and group.writes is not None and _is_finding(group, group.writes)
    ]


def _is_finding(group: Group, writes: Writes) -> bool:
    if writes.single < _LEAST or writes.bulk >= writes.single:
        return False
    between = writes.single - 1
    if writes.isolated >= between or writes.polled >= between:
        return False
    if group.shape[:6].upper() == "INSERT":
        return not _same_row_upserted(group, writes)
    return _another_row(group, writes)


def _same_row_upserted(group: Group, writes: Writes) -> bool:
    """Tell whether an upsert went to one row again and again, as that of a counter does."""
    found = _UPSERT.search(group.sql)
    if found is None:
        return False
    keys = {key.strip(' "`').lower() for key in (found["keys"] or "").split(",") if key.strip()}
    return not any(name.lower() in keys or name.startswith("#") or name.isdigit() for name in writes.varied) and bool(
        keys or not writes.varied
    )


def _another_row(group: Group, writes: Writes) -> bool:
    """Tell whether the condition changed, so that each statement wrote another row."""
    where = group.sql.upper().find("WHERE")
    if where < 0 or not writes.varied:
        return False
    compared = [name for name in writes.varied if _in_condition(name, group, where)]
    if not compared or not re.search(r"\bAND\b", group.sql[where:], re.IGNORECASE):
        return bool(compared)
    # Compare and swap: of a row that is named besides, the condition names what the statement sets.
    changed = {name.lower() for name in _SET.findall(group.sql[:where])}
    known = roles(group)
    return any(name not in known or known[name].column.rpartition(".")[2].strip('"`') not in changed for name in compared)


def _in_condition(name: str, group: Group, where: int) -> bool:
    """Tell whether a parameter or literal belongs to WHERE and not to SET."""
    if name.startswith("#"):
        at = int(name[1:])
        known = literals(group.sql)
        return at < len(known) and known[at][0] > where
    named = max(group.sql.find(mark) for mark in (f":{name}", f"%({name})s"))
    if named >= 0:
        return named > where
    order = getattr(group.compiled, "positiontup", None) or ()
    position = order.index(name) if name in order else int(name) if name.isdigit() else None
    if position is None:
        return True
    return position >= group.sql[:where].count("?") + group.sql[:where].count("%s")


def _finding(group: Group, writes: Writes) -> RowByRowWrites:
    stack = tuple(str(site) for site in group.sites)
    flushed = writes.flush != -1
    if flushed:
        fix = "add all objects first, then flush or commit once after the loop"
        alternatives = ("BulkWriter(session, Entity).insert(rows)",)
    else:
        verb = group.shape.split(" ", 1)[0].lower()
        fix = f"session.execute({verb}(Entity), rows)  # one statement for the whole list"
        alternatives = ("BulkWriter(session, Entity)." + ("upsert(rows, key=[...])" if verb == "insert" else f"{verb}(...)"),)
    return RowByRowWrites(
        statement=shortened(group.shape),
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        seconds=group.seconds,
        saves=group.count - 1,
        stack=stack,
        alternatives=alternatives,
        sql=group.shape,
    )
