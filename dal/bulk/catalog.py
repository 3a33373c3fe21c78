"""What PostgreSQL itself says of a table's columns: types by oid, domains resolved, identity, generation, defaults.

A mapping says `String`; the table may have a domain, an enum or a varchar(3). What is sent has to fit the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dal.bulk.wire import Wire
from dal.errors import UsageError

__all__ = ["ColumnFacts", "TableFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One column, as the catalog has it.

    Args:
        name: Its name in the database.
        oid: The type's oid; of a domain, that of the type below it.
        type: The name of that type in pg_type: int8, text, timestamptz, _int4 for an array of int4.
        kind: What it is: "b" a base type, "e" an enum, "c" composite, "r" a range, "m" a multirange.
        category: PostgreSQL's category of it: "S" for text, "A" for arrays.
        sql: The type as SQL writes it, with its length or scale: `character varying(60)`.
        bare: The same without them, and without the checks of a domain.
        required: Whether NULL is refused.
        identity: "a" for GENERATED ALWAYS AS IDENTITY, "d" for BY DEFAULT, else "".
        computed: Whether it is a generated column.
        default: The server's default as an expression, or None.
        element: Of an array, what it is made of; None for anything else.
        comparable: Whether the type has `=`.
        collation: How its texts are sorted: "bytes" (the collation C), "other", "loose" where texts of different bytes may be
            equal, or "" where the type has no collation.
    """

    name: str
    oid: int
    type: str
    kind: str
    category: str
    sql: str
    bare: str
    required: bool
    identity: str
    computed: bool
    default: str | None
    element: str | None
    comparable: bool
    collation: str


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table, as the catalog has it.

    Args:
        columns: Its columns by name.
        deferred: Whether it has constraints that may be checked as late as COMMIT.
        partitioned: Whether it is kept in partitions.
        at_once: Whether it matters that its rows come by one statement: it refers to itself, or a trigger fires by statement.
    """

    columns: Mapping[str, ColumnFacts]
    deferred: bool
    partitioned: bool
    at_once: bool


_QUERY = """
WITH RECURSIVE based AS (
  SELECT a.attnum, a.atttypid AS oid, a.atttypmod AS mod FROM pg_attribute a
  WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.typbasetype, t.typtypmod FROM based b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd'
)
SELECT a.attname, t.oid, t.typname, t.typtype::text, t.typcategory::text, format_type(a.atttypid, a.atttypmod),
       format_type(t.oid, NULL), a.attnotnull OR own.typnotnull,
       CASE WHEN a.attidentity <> '' THEN a.attidentity::text ELSE '' END, a.attgenerated <> '',
       CASE WHEN a.attgenerated = '' THEN coalesce(
         pg_get_expr(d.adbin, d.adrelid),
         CASE WHEN a.attidentity <> '' THEN
           format('nextval(%%L::regclass)', pg_get_serial_sequence(%s, a.attname)) END) END,
       e.typname,
       EXISTS (SELECT FROM pg_opclass o WHERE o.opcdefault AND o.opcintype = t.oid)
         OR t.typtype IN ('e', 'r', 'm') OR t.typname IN ('varchar', 'bpchar') OR (t.typcategory = 'A' AND
            (e.typtype = 'e' OR e.typname IN ('varchar', 'bpchar')
             OR EXISTS (SELECT FROM pg_opclass o WHERE o.opcdefault AND o.opcintype = e.oid))),
       CASE WHEN k.oid IS NULL THEN '' WHEN NOT k.collisdeterministic OR t.typname = 'citext' THEN 'loose'
         WHEN k.collprovider = 'c' AND k.collcollate IN ('C', 'POSIX') THEN 'bytes'
         WHEN k.collprovider = 'd' AND s.provider = 'c' AND s.sorts IN ('C', 'POSIX') THEN 'bytes' ELSE 'other' END
FROM based b
CROSS JOIN (SELECT coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS provider, d.datcollate AS sorts
  FROM pg_database d WHERE d.datname = current_database()) AS s
JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd'
JOIN pg_attribute a ON a.attrelid = %s::regclass AND a.attnum = b.attnum
JOIN pg_type own ON own.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_collation k ON k.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
ORDER BY a.attnum
"""
_TABLE = """
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND condeferrable), c.relkind = 'p',
       EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND confrelid = c.oid)
         OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgtype & 1 = 0)
FROM pg_class c WHERE c.oid = %s::regclass
"""


def facts_of(wire: Wire, table: str) -> TableFacts:
    """Ask the catalog about a table.

    Args:
        wire: The connection.
        table: The table's name, quoted, with its schema where it has one.

    Raises:
        UsageError: There is no such table.
    """
    name = table.replace("%%", "%")
    if wire.fetch("SELECT to_regclass(%s)", (name,))[0][0] is None:
        raise UsageError(f"there is no table {name} in the database", hint="create it, or migrate: dal migrate up")
    rows = wire.fetch(_QUERY, (name, name, name))
    return TableFacts({row[0]: ColumnFacts(*row) for row in rows}, *wire.fetch(_TABLE, (name,))[0])
