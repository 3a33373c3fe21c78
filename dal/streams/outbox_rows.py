"""From the rows of an outbox to whole transactions of changes."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine

from dal.streams.change import Change, Kind, Transaction
from dal.streams.decode import Decoder, Relation, relation_of
from dal.streams.known import Known, autocommit
from dal.streams.outbox import columns_of, row_texts

__all__ = ["OutboxRows"]

_EPOCH_MICROS = 946_684_800_000_000


class OutboxRows:
    """Reads the rows of one reader's looks.

    Args:
        engine: The application's engine, asked for the columns of a table that is met for the first time.
        known: Who wants the rows of which table.
        kinds: The kinds of changes that are wanted.
        source: Who is told what is done with.
    """

    def __init__(self, engine: Engine, known: Known, kinds: frozenset[Kind], source: Any) -> None:
        self._engine, self._known, self._source = engine, known, source
        self._decoder = Decoder(known.asked, known.types, kinds, source)
        self._facts = {f"{each.schema}.{each.name}": each for each in known.facts.values()}

    @property
    def relations(self) -> str:
        """The tables that are wanted, as the outbox names them, apart by chr(31)."""
        return chr(31).join(self._facts)

    def read(self, rows: str | None) -> tuple[list[Change], list[Transaction]]:
        """Read what one look brought.

        Args:
            rows: The rows as JSON, those of a transaction one after the other; None where there is none.

        Returns:
            The changes, and the transactions they are of.
        """
        self._decoder.forget()
        changes: list[Change] = []
        given: list[Transaction] = []
        for number, xid, micros, relation, kind, columns, old, new in json.loads(rows or "[]"):
            if not given or given[-1].xid != int(xid):
                self._end(given, changes)
                given.append(Transaction(self._source, 0, int(xid), micros - _EPOCH_MICROS))
                self._decoder.transaction = given[-1]
            given[-1].lsn = number
            before, after = (None if text is None else row_texts(text) for text in (old, new))
            self._decoder.texts(self._layout(relation, tuple(columns or ())), kind, before, after, changes)
        self._end(given, changes)
        return changes, given

    def _end(self, given: list[Transaction], changes: list[Change]) -> None:
        if given:
            self._decoder.finish(changes)
            given[-1].end = 1

    def _layout(self, relation: str, names: tuple[str, ...]) -> Relation:
        """Prepare for rows with these columns; one that was dropped since is left out of what is known, not of the row."""
        layouts = self._decoder.layouts
        if (relation, names) not in layouts:
            facts = self._facts[relation]
            with autocommit(self._engine) as connection:
                columns = {name: (name, oid, key) for name, oid, key in columns_of(connection, facts)}
            layouts[relation, names] = relation_of(
                [columns.get(name, (name, 25, False)) for name in names],
                self._known.asked[facts.schema, facts.name],
                self._known.types,
            )
        return layouts[relation, names]
