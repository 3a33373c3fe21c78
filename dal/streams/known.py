"""What a source knows of its server before it reads: who wants the rows of which table, how values load, how to connect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from dal.streams.decode import Asked
from dal.streams.options import SlotOptions
from dal.streams.server import TableFacts, asked_of, domains, parameters, types_of
from dal.streams.shapes import Shape
from dal.streams.values import Types

__all__ = ["Known", "autocommit", "known_of"]


@dataclass(frozen=True, slots=True)
class Known:
    """What was asked of the server.

    Attributes:
        asked: Who wants the rows of a table.
        facts: The tables, by name as the application writes it.
        types: How to load values.
        parameters: libpq's parameters for a connection of the stream's own.
    """

    asked: Asked
    facts: Mapping[str, TableFacts]
    types: Types
    parameters: Sequence[tuple[str, str]]


def autocommit(engine: Engine) -> Connection:
    """Take a connection of the application whose statements stand alone.

    Args:
        engine: The application's engine.
    """
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def known_of(engine: Engine, connection: Connection, shapes: Sequence[Shape], options: SlotOptions, *, outbox: bool) -> Known:
    """Ask the server, and check that it can give the stream.

    Args:
        engine: The application's engine; domains that are met later are asked for with it.
        connection: One of its connections, in autocommit.
        shapes: What is asked for.
        options: How to read.
        outbox: Whether triggers write the changes.

    Raises:
        ReplicationError: A table is missing, or does not tell enough.
    """

    def known_domains() -> Mapping[int, int]:
        with engine.connect() as asking:
            return domains(asking)

    asked, facts = asked_of(connection, shapes, options.kinds, full=options.full, outbox=outbox)
    return Known(asked, facts, types_of(connection, known_domains), parameters(connection))
