"""The private names of SQLAlchemy 2.1 that this room stands on, and the check that they are there.

Only `flush` needs any: the one place in the middle of a flush where the INSERTs of a mapper into a table are sent. `missing()`
says where a SQLAlchemy does it in another way than those this is made for; then every flush stays SQLAlchemy's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from inspect import signature, unwrap
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.orm import Mapper, Session, persistence

__all__ = [
    "Emission",
    "Record",
    "connection_of",
    "has_expressions",
    "inserts_are_rewritten",
    "missing",
    "on_connection",
    "params_of",
    "stand_before",
]

Record = tuple[Any, ...]
"""What a flush knows of one INSERT: state, its dict, parameters, mapper, connection, SQL expressions, and two flags."""

params_of: Callable[[Record], dict[str, Any]] = itemgetter(2)
"""Return the values that an INSERT is given, by the keys of columns."""
connection_of: Callable[[Record], Connection] = itemgetter(4)
"""Return the connection it goes to."""
has_expressions: Callable[[Record], Any] = itemgetter(5)
"""Return its values that are SQL expressions; false where there are none."""

_WIDTH = 8
_SIGNATURES = {
    "_emit_insert_statements": (
        "base_mapper uowtransaction mapper table insert bookkeeping use_orm_insert_stmt execution_options"
    ),
    "_postfetch": "mapper uowtransaction table state dict_ result params value_params isupdate returned_defaults",
}
_READ = {
    "_emit_insert_statements": """
        EMPTY_DICT FlushError InvalidRequestError _annotate _columntoproperty _compiled_cache _cursor _memo _pks_by_table
        _postfetch _postfetch_bulk_save _prefer_eager_defaults _returning _server_default_cols _sort_by_parameter_order bool
        compiled_parameters context dialect dialect_description execute executemany get groupby implicit_returning insert
        insert_executemany_returning insert_executemany_returning_sort_by_parameter_order insert_returning inserted_primary_key
        inserted_primary_key_rows key len list merge_with null_dml_result orm_exc primary_key return_defaults returned_defaults
        returned_defaults_rows sa_exc splice_vertically util values version_id_col zip zip_longest""",
    "_postfetch": """
        _cols_by_table _columntoproperty _expire_attributes _insert_orm_defaults _populate _table_to_equated append bool
        class_manager committed_state compiled context dict dispatch effective_returning extend get isinsert key list
        passive_updates pop postfetch prefetch primary_key refresh_flush sync version_id_col zip""",
}
"""All names that SQLAlchemy 2.1.0 to 2.1.9 read there: where one more is read, what stands in for a result may lack it."""


@cache
def missing() -> list[str]:
    """Name the private functions that this version of SQLAlchemy does not have, or has in another form."""
    changed = []
    for name, parameters in _SIGNATURES.items():
        # What stands before it already is looked behind.
        found: Any = unwrap(getattr(persistence, name, None))  # type: ignore[arg-type]
        code: Any = getattr(found, "__code__", None)
        if (
            code is None
            or list(signature(found).parameters) != parameters.split()
            or not set(code.co_names) <= set(_READ[name].split())
        ):
            changed.append(f"orm.persistence.{name}")
    return changed


@dataclass(frozen=True)
class Emission:
    """The INSERTs of one mapper into one table, as a flush is about to send them.

    Args:
        base: The mapper at the root of the hierarchy.
        unit: SQLAlchemy's unit of work.
        mapper: The mapper the table belongs to.
        table: The table.
        records: One for each object, in the order they are inserted in.
        emit: SQLAlchemy's function.
    """

    base: Mapper[Any]
    unit: Any
    mapper: Mapper[Any]
    table: Table
    records: Sequence[Record]
    emit: Callable[..., Any]

    @property
    def is_known(self) -> bool:
        """Whether records are what this room takes them for."""
        return all(len(record) == _WIDTH and type(record[2]) is dict for record in self.records)

    def ordinary(self, records: Iterable[Record]) -> None:
        """Let SQLAlchemy do what it does with records: send them, and tell their objects what came of it."""
        self.emit(self.base, self.unit, self.mapper, self.table, records)


def on_connection(record: Record, connection: Any) -> Record:
    """Return a record that goes to another connection."""
    return (*record[:4], connection, *record[5:])


def stand_before(takes: Callable[[Session], Any], take: Callable[[Emission], None]) -> None:
    """Put a function where flushes send INSERTs, for good.

    Args:
        takes: Tells whether it is for a session.
        take: Gets what would be sent.
    """
    private: Any = persistence
    stock: Callable[..., Any] = private._emit_insert_statements

    @wraps(stock)
    def standing(base: Any, unit: Any, mapper: Any, table: Any, insert: Any, **others: Any) -> Any:
        # ORM-enabled INSERTs and the bulk methods of sessions say something in the others, and have no unit.
        if others or unit is None or not isinstance(table, Table) or not takes(unit.session):
            return stock(base, unit, mapper, table, insert, **others)
        records = list(insert)
        if records:
            take(Emission(base, unit, mapper, table, records, stock))
        return None

    private._emit_insert_statements = standing


def inserts_are_rewritten(table: Table) -> bool:
    """Tell whether a `@compiles` of the application decides what an INSERT looks like."""
    return hasattr(Insert, "_compiler_dispatcher") or hasattr(type(table), "_compiler_dispatcher")
