"""What part a changing value plays in a statement: compared for equality, a list, a bound of a range, LIMIT or OFFSET.

That is what tells a loop over ids from a walk over pages.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dal.detection.fingerprint import literals
from dal.detection.groups import Group

__all__ = ["EQUAL", "LIMIT", "LIST", "OFFSET", "RANGE", "Role", "roles"]

EQUAL, LIST, RANGE, LIMIT, OFFSET = "equal", "list", "range", "limit", "offset"

_MOST_TEXTS = 500
_named_texts: dict[str, str | None] = {}

_NAMED = re.compile(r"(?<![:\w]):(\w+)|__\[POSTCOMPILE_(\w+?)\]|%\((\w+)\)s")
_POSITIONAL = re.compile(r"\?|(?<!%)%s|\$\d+")
_BEFORE = re.compile(
    r"""(?P<column>[\w."`\[\]]+(?:\([^()]*\))?)?\s*
        (?P<operator><>|!=|<=|>=|=|<|>|\bIS\b|\bI?LIKE\b|\bNOT\s+IN\b|\bIN\b|\bANY\b|\bALL\b|\bLIMIT\b|\bOFFSET\b|\bFIRST\b|\bNEXT\b|\bTOP\b
            |\bBETWEEN\b|\bBETWEEN\s+\S+\s+AND)\s*$""",
    re.VERBOSE | re.IGNORECASE,
)
_AFTER = re.compile(r"\s*(?:::\w+\s*)?(?P<operator><=|>=|<|>)(?!>)")


class Role(NamedTuple):
    """What part one value plays.

    Attributes:
        kind: EQUAL, LIST, RANGE, LIMIT or OFFSET.
        column: What it is compared with, in lower case as it is written; empty where that is no plain column.
    """

    kind: str
    column: str


def roles(group: Group) -> dict[str, Role]:
    """Return the role of each parameter and literal of a group's statement, by the names that `Reads.varied` uses.

    Args:
        group: The group, with the compiled statement where there is one.
    """
    text = _text_with_names(group)
    if text is not None:
        places = [
            (found.group(1) or found.group(2) or found.group(3), found.start(), found.end()) for found in _NAMED.finditer(text)
        ]
    else:
        text = group.sql
        named = [(found.group(3), found.start(), found.end()) for found in _NAMED.finditer(text) if found.group(3)]
        positional = [(str(at), found.start(), found.end()) for at, found in enumerate(_POSITIONAL.finditer(text))]
        places = named or positional
    if any(name.startswith("#") for name in (group.reads.varied if group.reads else ())):
        text = group.sql
        places = [(f"#{at}", start, start + len(value)) for at, (start, value) in enumerate(literals(text))]
    found = {name: _role(text[:start], text[end:]) for name, start, end in places}
    # Keyset written out: a > :x OR a = :x AND b > :y. The equality belongs to the walk.
    ranged = {role.column for role in found.values() if role.kind == RANGE}
    return {
        name: Role(RANGE, role.column) if role.kind == EQUAL and role.column and role.column in ranged else role
        for name, role in found.items()
    }


def _text_with_names(group: Group) -> str | None:
    """Write the statement again with names for its parameters, as positions say nothing about lists."""
    if group.compiled is None:
        return None
    if group.sql not in _named_texts:
        if len(_named_texts) >= _MOST_TEXTS:
            _named_texts.clear()
        _named_texts[group.sql] = _compile_named(group)
    return _named_texts[group.sql]


def _compile_named(group: Group) -> str | None:
    try:
        dialect: Any = type(group.dialect)(paramstyle="named")
        return str(group.compiled.statement.compile(dialect=dialect).string)
    except Exception:
        # A statement that compiles only with its own dialect object; its positional text is the second best.
        return None


def _role(before: str, after: str) -> Role:
    text, in_list = _outside(before.rstrip())
    found = _BEFORE.search(text[-200:])
    if found is None:
        reverse = _AFTER.match(after)
        return Role(RANGE if reverse else EQUAL, "")
    operator, column = " ".join(found["operator"].upper().split()), (found["column"] or "").lower()
    if operator == "NOT IN":
        # Whatever was not seen yet: a way to walk on, and nobody's own list.
        return Role(RANGE, column)
    if operator in ("IN", "ANY", "ALL"):
        return Role(LIST, column)
    if operator == "LIMIT":
        # MariaDB writes LIMIT offset, count.
        return Role(OFFSET if not in_list and after.lstrip().startswith(",") else LIMIT, "")
    if operator in ("FIRST", "NEXT", "TOP"):
        return Role(LIMIT, "")
    if operator == "OFFSET":
        return Role(OFFSET, "")
    if operator in ("<", ">", "<=", ">=") or operator.startswith("BETWEEN"):
        return Role(RANGE, column)
    return Role(EQUAL, column)


def _outside(text: str) -> tuple[str, bool]:
    """Drop what stands before a value inside its own parentheses: `IN (1, ` becomes `IN`."""
    limit = re.search(r"\bLIMIT\s+\S+\s*,$", text, re.IGNORECASE)
    if limit:
        return text[: limit.start()] + "LIMIT", True
    if text.endswith("("):
        return re.sub(r"(?:\bCAST\s*)?\($", "", text, flags=re.IGNORECASE).rstrip(), False
    if text.endswith(","):
        depth = 0
        for at in range(len(text) - 1, max(len(text) - 2_000, -1), -1):
            if text[at] == ")":
                depth += 1
            elif text[at] == "(":
                if depth == 0:
                    return text[:at].rstrip(), True
                depth -= 1
    return text, False
