"""The same SELECT from the same place again and again: get() in a loop, a count for each row, a question asked anew each time.

Silent for pages (OFFSET, keyset or NOT IN), chunks of a list, ranges walked one after the other, trees read level by level,
queues and status being polled.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from dal.detection.advice import shortened
from dal.detection.findings import Finding, RepeatedStatement
from dal.detection.groups import READ, Group, Reads
from dal.detection.roles import EQUAL, LIMIT, LIST, OFFSET, RANGE, Role, roles
from dal.detection.scope import Scope

__all__ = ["judge"]

_LEAST = 3
_CHUNK = 5
_SURE_CHUNK = 20
_HAS_TABLE = re.compile(r"\bFROM\b", re.IGNORECASE)
_LIMIT_ONE = re.compile(r"\b(?:LIMIT|FIRST)\s+1\b", re.IGNORECASE)


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the reads of a scope."""
    found: list[tuple[Finding, Group]] = []
    for group in scope.groups.values():
        if group.kind == READ and group.count >= max(_LEAST, scope.threshold) and group.reads is not None:
            reason = _reason(group, group.reads)
            if reason:
                found.append((_finding(group, reason), group))
    return found


def _reason(group: Group, reads: Reads) -> str:
    """Say why a group is a finding; empty when it is none."""
    if "SKIP LOCKED" in group.shape.upper() or not _HAS_TABLE.search(group.shape):
        return ""
    varied = reads.varied or ({"#size"} if reads.changed_size else set())
    if not varied:
        return "invariant" if reads.tight + 1 >= _LEAST else ""
    known = roles(group)
    found = {_role_of(name, known).kind for name in varied}
    if EQUAL in found:
        return "per-item"
    if LIST in found:
        return "" if _chunks(reads, known) or _levels(group, reads, known) else "list-per-item"
    if OFFSET in found:
        return "row-by-row" if _one_row(group, reads, known) else ""
    return ""


def _role_of(name: str, known: dict[str, Role]) -> Role:
    if name in known:
        return known[name]
    if name in ("#size", "#list"):
        # The list that changed in length is one that leaves out what was seen, where there is no other.
        return Role(RANGE if known and all(role.kind != LIST for role in known.values()) else LIST, "")
    # The values of an expanded list are named after it: id_1 became id_1_1, id_1_2 ...
    stem = name.rpartition("_")[0]
    return known.get(stem, Role(EQUAL, ""))


def _chunks(reads: Reads, known: dict[str, Role]) -> bool:
    """Tell a list that was cut in parts from one list for each item."""
    fixed = sum(role.kind != LIST for role in known.values())
    size = reads.size - fixed
    if "#list" in reads.varied:
        return False
    if reads.changed_size == 0 or (reads.changed_size == 1 and reads.last_size < reads.size):
        return size >= _CHUNK
    return reads.shortest - fixed >= _SURE_CHUNK


def _levels(group: Group, reads: Reads, known: dict[str, Role]) -> bool:
    """Tell a tree that is read level by level: the list is one of parents, in the table itself, and levels differ in size."""
    listed = {role.column.rpartition(".")[2].strip('"`') for role in known.values() if role.kind == LIST}
    return (
        reads.changed_size > 0
        and len(listed) == 1
        and any(
            key.column.table is table
            for table in _tables(group)
            for column in table.columns
            if column.name.lower() in listed
            for key in column.foreign_keys
        )
    )


def _tables(group: Group) -> list[Table]:
    froms: list[object] = getattr(getattr(group.compiled, "statement", None), "get_final_froms", list)()
    return [each for each in froms if isinstance(each, Table)]


def _one_row(group: Group, reads: Reads, known: dict[str, Role]) -> bool:
    if _LIMIT_ONE.search(group.sql):
        return True
    return any(role.kind == LIMIT and name in reads.ones for name, role in known.items())


def _finding(group: Group, reason: str) -> RepeatedStatement:
    stack = tuple(str(site) for site in group.sites)
    fix, alternatives = _lines(group, reason)
    return RepeatedStatement(
        statement=shortened(group.shape),
        reason=reason,
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        seconds=group.seconds,
        saves=group.count - 1,
        stack=stack,
        alternatives=alternatives,
        sql=group.shape,
    )


def _lines(group: Group, reason: str) -> tuple[str, tuple[str, ...]]:
    shape = group.shape.upper()
    if reason == "invariant":
        return "ask once, before the loop, and keep the answer", ()
    if reason == "row-by-row":
        return "read the rows in one statement: drop LIMIT 1 OFFSET n and iterate", ()
    if "COUNT(" in shape or "SUM(" in shape or "EXISTS" in shape:
        return "ask once for all of them: add the key to the columns, .where(key.in_(keys)) and .group_by(key)", ()
    entity: Any = group.subject
    if isinstance(entity, Mapper):
        name, key = entity.class_.__name__, entity.get_property_by_column(entity.primary_key[0]).key
        every = f"session.scalars(select({name}).where({name}.{key}.in_(ids)))"
        if "FOR UPDATE" in shape:
            return every[:-1] + f".order_by({name}.{key}).with_for_update())", ()
        if "LIMIT" in shape:
            return "one statement with row_number().over(partition_by=...) or a LATERAL join for the first rows of each", ()
        return ("repository.get_many(ids)", (every,)) if group.repository else (every, ("repository.get_many(ids)",))
    return "ask once for all of them: WHERE key IN (...), then sort the rows to their items", ()
