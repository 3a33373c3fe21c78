"""Load: a file into the table of an entity.

CSV whose fields Python need not look at goes to COPY byte by byte, and the server reads types, lengths and constraints. Up to
the first quote or backslash it goes as text, which the server reads faster.
Everything else is read into rows, which a BulkWriter writes. Without `resume` all of it is one transaction; with it, each part
is one, together with the checkpoint that says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dal.bulk.checkpoint import Checkpoint, Place
from dal.bulk.context import Context
from dal.bulk.files.columnar import ArrowRows
from dal.bulk.files.counts import Counts
from dal.bulk.files.csv_file import Ahead, CsvFile, Span
from dal.bulk.files.header import refuse_missing
from dal.bulk.files.loader import Loader
from dal.bulk.files.options import LoadOptions
from dal.bulk.files.progress import FileProgress, Tell, telling
from dal.bulk.files.raw import RawCopy, why_not_raw
from dal.bulk.files.source import BLOCK, Readable, Source
from dal.bulk.files.typed import CsvRows, JsonRows, Lines
from dal.bulk.refusal import Refused, of_error
from dal.bulk.result import BulkResult, Rejected
from dal.bulk.scope import Scope
from dal.bulk.target import Target
from dal.errors import RowError, UsageError

__all__ = ["load"]

_PART = 4 * BLOCK
_ISOLATING = 3 * BLOCK

Loaders = Callable[[Connection, Session | None], Loader]


def load(given: Readable, options: LoadOptions, scope: Scope, target: Target, loaders: Loaders) -> BulkResult:
    """Load a file.

    Args:
        given: The file.
        options: What the caller says.
        scope: Where it runs.
        target: Where the rows go.
        loaders: Makes what writes rows.

    Raises:
        RowError: A row cannot be written; it is named by its line.
        FileError: The file is damaged, in another encoding, or not the one that was begun.
        UsageError: Its fields are not the attributes.
    """
    started = time.perf_counter()
    if options.resume is not None and not scope.commits:
        raise UsageError(
            "resume= commits part after part, and this writer works in the caller's transaction",
            hint="write BulkWriter(db, ...), or leave resume= out",
        )
    with Source(given) as source, telling(options.progress, source.name) as tell:
        if options.resume is not None:
            counts = _resumed(source, options, scope, target, loaders, tell)
        else:
            counts = _whole(source, options, scope, target, loaders, tell)
    return replace(counts.result(), seconds=time.perf_counter() - started)


class _Parts(Protocol):
    def parts(self, position: int, line: int) -> Iterator[Lines]: ...


class _Opened:
    """A file whose format, header and route are known."""

    def __init__(self, source: Source, options: LoadOptions, target: Target, connection: Connection, size: int) -> None:
        self.kind = options.format or source.format()
        self.csv: CsvFile | None = None
        self.rows: _Parts
        if self.kind == "csv":
            said = {"dialect": options.dialect, "columns": options.columns, "header": options.header}
            file = CsvFile(source, target, block=size, **said)  # type: ignore[arg-type]
            refuse_missing(target, file.header.attributes, source.name)
            if options.validate is None and options.key is None:
                self.csv = file if why_not_raw(target, file.header.names, connection.dialect) is None else None
            self.rows = CsvRows(file, target, options.validate)
        elif self.kind == "jsonl":
            self.rows = JsonRows(source, target, options.columns, options.validate)
        else:
            self.rows = ArrowRows(source, self.kind, target, options.columns, options.validate, connection.dialect)
            refuse_missing(target, self.rows.attributes, source.name)


def _whole(source: Source, options: LoadOptions, scope: Scope, target: Target, loaders: Loaders, tell: Tell | None) -> Counts:
    """Load all of a file in one transaction."""

    def once(connection: Connection, session: Session | None) -> Counts:
        counts = Counts(options, source.name, target)
        source.rewind()
        opened = _Opened(source, options, target, connection, _ISOLATING if options.rejecting else BLOCK)
        loader = loaders(connection, session)
        if opened.csv is None:
            for lines in opened.rows.parts(0, 0):
                _write_rows(lines, loader, options, counts)
                _tell(tell, counts.progress(source))
        elif options.rejecting:
            spans = Ahead(opened.csv.spans())
            raw = _raw(opened, loader, options, counts, meanwhile=spans.read)
            for span in spans:
                _write_span(span, raw, counts)
                _tell(tell, counts.progress(source))
        else:
            _stream(source, opened.csv, loader.context(), counts, tell)
        counts.rejected.sort(key=_line)
        options.rejects.inside(counts.rejected, connection)
        return counts

    counts = scope.run(once, again=source.path is not None)
    options.rejects.after(counts.rejected)
    return counts


def _stream(source: Source, file: CsvFile, context: Context, counts: Counts, tell: Tell | None) -> None:
    """Send a whole file: by one COPY, or by one for what is plain at its start, and one for the rest."""
    raw = RawCopy(context, file, None)
    sent, begun, line = 0, None, 0
    try:
        for plain, spans in _by_format(file, plain=not context.facts().at_once):
            with context.wire.copy(raw.statement(plain=plain)) as copying:
                for span in spans:
                    if begun is not plain:
                        begun, line = plain, span.line
                    raw.send(copying, span.data)
                    if tell is not None:
                        sent += span.data.count(b"\n")
                        tell(counts.progress(source, sent))
            counts.inserted += copying.rows
            sent = 0
    except DBAPIError as error:
        refused = of_error(error, raw.plan)
        if refused is None:
            raise
        raise counts.located.of_line(refused, line, file, source) from error


def _by_format(file: CsvFile, *, plain: bool) -> Iterator[tuple[bool, Iterator[Span]]]:
    def still(span: Span) -> bool:
        nonlocal plain
        plain = plain and file.plain(span.data)
        return plain

    return groupby(file.spans(), key=still)


def _resumed(source: Source, options: LoadOptions, scope: Scope, target: Target, loaders: Loaders, tell: Tell | None) -> Counts:
    """Load what is left of a file, each part in a transaction that moves the checkpoint on."""
    checkpoint = Checkpoint(str(options.resume))
    checkpoint.prepare(scope)
    fingerprint = source.fingerprint()
    place = scope.run(lambda connection, session: checkpoint.start(connection, fingerprint), again=True)
    counts = Counts(options, source.name, target, before=place)
    if place.finished:
        return counts
    opened: _Opened = scope.run(lambda connection, session: _Opened(source, options, target, connection, _PART), again=True)
    for part in _parts(opened, place):
        place = _one_part(part, place, opened, options, scope, loaders, checkpoint, counts)
        _tell(tell, counts.progress(source))
    scope.run(lambda connection, session: checkpoint.finish(connection, place), again=True)
    return counts


def _one_part(
    part: Span | Lines,
    place: Place,
    opened: _Opened,
    options: LoadOptions,
    scope: Scope,
    loaders: Loaders,
    checkpoint: Checkpoint,
    counts: Counts,
) -> Place:
    def once(connection: Connection, session: Session | None) -> tuple[Counts, Place]:
        started = time.perf_counter()
        checkpoint.hold(connection, place)
        own = counts.begin(place)
        loader = loaders(connection, session)
        if isinstance(part, Span):
            _write_span(part, _raw(opened, loader, options, own), own)
        else:
            _write_rows(part, loader, options, own)
        after = replace(
            place,
            position=part.end,
            line=part.next_line,
            rows=place.rows + own.rows,
            rejected=place.rejected + len(own.rejected),
        )
        own.rejected.sort(key=_line)
        options.rejects.inside(own.rejected, connection)
        if options.on_part is not None:
            options.on_part(connection, replace(own.result(), seconds=time.perf_counter() - started))
        checkpoint.advance(connection, after)
        return own, after

    own, after = scope.run(once, again=True)
    options.rejects.after(own.rejected)
    counts.join(own)
    return after


def _parts(opened: _Opened, place: Place) -> Iterator[Span | Lines]:
    if opened.csv is not None:
        return opened.csv.spans(place.position, place.line)
    return opened.rows.parts(place.position, place.line)


def _raw(
    opened: _Opened, loader: Loader, options: LoadOptions, counts: Counts, meanwhile: Callable[[], object] = lambda: None
) -> RawCopy:
    """Return the COPY of a file; where it meets too many bad rows, they are read and sifted by the writer of rows."""
    assert opened.csv is not None
    rows = opened.rows

    def rest(records: list[bytes], lines: list[int], positions: list[int]) -> None:
        assert isinstance(rows, CsvRows)
        found = rows.of_records(records, lines, Lines())
        by_line = dict(zip(lines, records, strict=True))
        # PostgreSQL reads more spellings than Python: 'now', or 'tr' for true.
        unread = [each for each in found.refused if not raw.takes(by_line[each.line or 0])]
        counts.inserted += len(found.refused) - len(unread)
        found.refused = unread
        _write_rows(found, loader, options, counts, at=dict(zip(lines, positions, strict=True)))

    if not options.rejecting:
        return RawCopy(loader.context(), opened.csv)
    raw = RawCopy(loader.context(), opened.csv, counts.reject, rest, meanwhile)
    return raw


def _write_span(span: Span, raw: RawCopy, counts: Counts) -> None:
    try:
        rows = raw.write(span, counts.seen)
    except Refused as refused:
        raise counts.located.of_span(refused, span, raw) from refused
    counts.inserted += rows


def _write_rows(
    lines: Lines, loader: Loader, options: LoadOptions, counts: Counts, at: Mapping[int, int] | None = None
) -> None:
    """Write the rows of a part, and set aside what was refused before and by the database.

    Args:
        lines: The rows, and what was refused before.
        loader: Writes them.
        options: What the caller says.
        counts: Takes what becomes of them.
        at: The position of each line; by default they follow what was seen so far.
    """
    base = counts.seen
    if lines.refused and not options.rejecting:
        first = lines.refused[0]
        counts.reject(replace(first, position=_positions(lines, base)[first.line or 0]))
    try:
        result = loader.write(lines.rows, key=options.key, rejecting=options.rejecting)
    except RowError as error:
        line = lines.lines[error.position]
        raise counts.located.again(error, line, _positions(lines, base)[line]) from error
    counts.add(result)
    refused = [*lines.refused, *(replace(each, line=lines.lines[each.position]) for each in result.rejected)]
    at = at or (_positions(lines, base) if refused else {})
    for each in sorted(refused, key=_line):
        counts.reject(replace(each, position=at[each.line or 0]))


def _line(rejected: Rejected) -> int:
    return rejected.line or 0


def _positions(lines: Lines, base: int) -> Mapping[int, int]:
    """Return the position of each line of a part, by its order among the rows and what was refused of it."""
    places = sorted([*lines.lines, *(each.line or 0 for each in lines.refused)])
    return {line: base + index for index, line in enumerate(places)}


def _tell(tell: Tell | None, progress: FileProgress) -> None:
    if tell is not None:
        tell(progress)
