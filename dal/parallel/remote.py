"""The side of a scan that lives in worker processes: SQL and parameters go there, results come back.

A `select()` does not pickle, so it is compiled here, part by part. A mapped class arrives there as plain rows with the names
of its attributes: no session, no relationships. Values pass through the types of the columns, as in a session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, NullPool, Select, create_engine, inspect
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import result_tuple
from sqlalchemy.types import TypeEngine

from dal.errors import UsageError
from dal.own_statements import ask
from dal.parallel import _internals
from dal.parallel.part import Part
from dal.parallel.snapshot import adopt

__all__ = ["Column", "Compiled", "Reader", "columns_of", "connect_arguments"]

Column = tuple[str, TypeEngine[Any]]


class Compiled:
    """A statement, flat, to be compiled for each part.

    Args:
        statement: Selects one mapped class, or columns.

    Raises:
        UsageError: It selects several classes, or has ORM options.
    """

    def __init__(self, statement: Select[Any]) -> None:
        if _internals.has_options(statement):
            raise UsageError(
                "options of the ORM cannot be handed to other processes",
                hint="leave options() out, or leave processes=True out",
            )
        self._dialect = _dialect()
        self._statement, keys = _flat(statement)
        self.columns: tuple[list[Column], bool] = (keys, len(keys) == 1 and not _selects_class(statement))

    def part(self, part: Part) -> tuple[str, dict[str, Any]]:
        """Compile a part.

        Args:
            part: The part.

        Returns:
            SQL and its parameters, as the driver takes them.
        """
        compiled: Any = part.of_statement(self._statement).compile(dialect=self._dialect)
        state = compiled.construct_expanded_state(compiled.params)
        processors = dict(state.processors)
        for bind, name in compiled.bind_names.items():
            processors.setdefault(name, bind.type.dialect_impl(self._dialect).bind_processor(self._dialect))
        values = {
            name: value if (process := processors.get(name)) is None else process(value)
            for name, value in state.parameters.items()
        }
        return state.statement, values


class Reader:
    """What a process calls for each part.

    Args:
        arguments: Where to connect.
        snapshot: What to read in.
        columns: Names and types, and whether a row is its only value.
        work: Called with the rows of each part.
    """

    def __init__(
        self, arguments: dict[str, Any], snapshot: str, columns: tuple[list[Column], bool], work: Callable[[list[Any]], Any]
    ) -> None:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**arguments), poolclass=NullPool)
        self._connection = engine.connect().execution_options(isolation_level="REPEATABLE READ")
        ask(self._connection, "SET TRANSACTION READ ONLY")
        adopt(self._connection, snapshot)
        keys, self._only = columns
        self._types = [kind for _, kind in keys]
        self._row = result_tuple([name for name, _ in keys])
        self._work = work

    def __call__(self, part: tuple[str, dict[str, Any]]) -> tuple[Any, int]:
        """Read a part and call the function with its rows."""
        rows = self._read(*part)
        return self._work(rows), len(rows)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _read(self, statement: str, parameters: dict[str, Any]) -> list[Any]:
        result = self._connection.exec_driver_sql(statement, parameters)
        found: Sequence[Any] = result.cursor.fetchall() if result.cursor is not None else []
        kinds = [column[1] for column in result.cursor.description] if result.cursor is not None else []
        dialect = self._connection.dialect
        processors = [
            kind.dialect_impl(dialect).result_processor(dialect, code) for kind, code in zip(self._types, kinds, strict=True)
        ]
        result.close()
        if any(processors):
            found = [
                [value if process is None else process(value) for process, value in zip(processors, row, strict=True)]
                for row in found
            ]
        return [row[0] for row in found] if self._only else [self._row(row) for row in found]


def connect_arguments(connection: Connection) -> dict[str, Any]:
    """Return what connects to the very server that a connection leads to."""
    driver: Any = connection.connection.driver_connection
    info = getattr(driver, "info", None)
    if isinstance(info, psycopg.ConnectionInfo):
        where: dict[str, Any] = {name: value for name, value in info.get_parameters().items() if name not in _REPLACED}
        where |= {"host": info.host, "port": info.port, "password": info.password}
        return {name: value for name, value in where.items() if value}
    given = connection.engine.url
    where = {name: given.query[name] for name in ("host", "port") if name in given.query}
    url = given.set(drivername="postgresql+psycopg", query=where)
    arguments: dict[str, Any] = _dialect().create_connect_args(url)[1]
    return arguments


def _dialect() -> Any:
    make: Any = PGDialect_psycopg
    return make()


_REPLACED = frozenset({"host", "hostaddr", "port", "target_session_attrs", "load_balance_hosts"})


def columns_of(statement: Select[Any]) -> list[Column] | None:
    """Return the names and types of what a statement selects; None where it selects several classes."""
    described = statement.column_descriptions
    if _selects_class(statement):
        return _flat(statement)[1] if len(described) == 1 else None
    return [(each["name"], each["type"]) for each in described]


def _selects_class(statement: Select[Any]) -> bool:
    described = statement.column_descriptions
    return any(each.get("entity") is not None and each["expr"] is each["entity"] for each in described)


def _flat(statement: Select[Any]) -> tuple[Select[Any], list[Column]]:
    described = statement.column_descriptions
    if not _selects_class(statement):
        return statement, [(each["name"], each["type"]) for each in described]
    if len(described) != 1:
        raise UsageError(
            "rows of several classes cannot be told apart in other processes",
            hint="select the columns that are needed, or leave processes=True out",
        )
    entity = described[0]["entity"]
    attributes = [each for each in inspect(entity).mapper.column_attrs if not each.deferred]
    columns = [getattr(entity, each.key) for each in attributes]
    flat: Any = statement.with_only_columns(*columns, maintain_column_froms=True)
    return flat, [(each.key, column.type) for each, column in zip(attributes, columns, strict=True)]
