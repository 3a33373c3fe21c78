"""What a flow does until it is told to stop: read, apply the steps, write, commit, acknowledge.

Nothing is acknowledged before it is committed, and nothing is committed in the middle of a transaction. After a transient
fault of the sink, what is not committed is read again from where the last commit stands; steps go back to what they remembered
then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dal.events import Retried
from dal.pool.retry import rule_for
from dal.streams.kept import kept_text, kept_value
from dal.streams.marks import Kept, make_table, read_mark, write_mark
from dal.streams.sinks.base import Keeping, Setting, Sink
from dal.streams.source import Source
from dal.streams.stage import Event, Stage
from dal.streams.waiting import Waiting

__all__ = ["Batching", "FlowStats", "Loop"]

_LIMIT, _CHUNK, _CHECKPOINT, _CLOCK_EVERY, _IDLE = 2_000, 5_000, 1.0, 0.2, 5.0
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Batching:
    """When what was read is written.

    Args:
        size: As soon as so many items wait; a sink is never given more at a time.
        seconds: As soon as the first of them has waited so long; 0: as soon as nothing more is there to be read.
    """

    size: int = _CHUNK
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FlowStats:
    """How a flow is doing.

    Attributes:
        state: starting, running, stopped or failed.
        read: Changes read.
        written: Items committed to the sink.
        late: Items that came too late for their window.
        again: How often it went back to its last commit after a fault.
        lag: Bytes of log (or rows of an outbox) that were seen and are not done with.
        position: Where the last commit stands; empty before the first.
        error: Why it failed.
    """

    state: str
    read: int
    written: int
    late: int
    again: int
    lag: int
    position: str
    error: BaseException | None


class Loop:
    """One flow at work.

    Args:
        source: Where changes come from.
        stages: The steps.
        sink: Where items go.
        batching: When they are written.
        waiting: How to wait.
        engine: The engine of the stream's database, which keeps the position of a flow that remembers something.
        retry_delay: The first pause after a fault, in seconds.
        tell: Called with a fact for each new try.
    """

    def __init__(
        self,
        source: Source,
        stages: Sequence[Stage],
        sink: Sink,
        batching: Batching,
        waiting: Waiting,
        engine: Engine,
        *,
        retry_delay: float,
        tell: Callable[[object], None] | None = None,
    ) -> None:
        self._source, self._stages, self._sink, self._batching = source, stages, sink, batching
        self._waiting, self._engine, self._delay, self._tell = waiting, engine, retry_delay, tell
        self._remembers = False
        self._last: Kept | None = None
        self._state = "starting"
        self._error: BaseException | None = None
        self._read = self._written = self._again = self._failures = 0
        self._opened = False

    def stats(self) -> FlowStats:
        """Tell how it is doing."""
        late = sum(getattr(stage, "late", 0) for stage in self._stages)
        position = self._last.position if self._last is not None else ""
        return FlowStats(self._state, self._read, self._written, late, self._again, self._source.lag(), position, self._error)

    def prepare(self) -> None:
        """Make and check what is needed, and connect; errors of the setting show here."""
        self._source.prepare()
        self._remembers = any(stage.keep() is not None for stage in self._stages)
        setting = Setting(self._source.stream, self._source.origin, self._engine, self._waiting.settle, self.stats)
        self._sink.open(setting)
        self._opened = True
        if self._remembers and not isinstance(self._sink, Keeping):
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                make_table(connection)
        self._begin()

    def run(self) -> None:
        """Go on until told to stop.

        Raises:
            DalError: The stream cannot go on. So does what a caller's function raised.
        """
        try:
            if not self._opened:
                self.prepare()
            self._state = "running"
            while not self._waiting.stopped:
                try:
                    self._go_on()
                except (SQLAlchemyError, ConnectionError, TimeoutError) as error:
                    self._go_back(error)
            self._state = "stopped"
        except BaseException as error:
            self._state, self._error = "failed", error
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Let go of source and sink."""
        try:
            self._sink.close()
        finally:
            self._source.close()

    def _begin(self) -> None:
        """Start behind what is kept."""
        if isinstance(self._sink, Keeping):
            self._last = self._sink.kept()
        elif self._remembers:
            with self._engine.connect() as connection:
                self._last = read_mark(connection, self._source.stream, self._source.origin)
        remembered = kept_value(self._last.state) if self._last is not None and self._last.state else [None] * len(self._stages)
        for stage, kept in zip(self._stages, remembered, strict=True):
            stage.restore(kept)
        self._source.start(self._last.position if self._last is not None else None)

    def _go_on(self) -> None:
        source, size, patience = self._source, self._batching.size, self._batching.seconds
        pending: list[Any] = []
        since = committed = monotonic()
        read = written = 0
        while True:
            if not pending:
                since = monotonic()
            changes = source.read(_LIMIT, self._patience(pending, since))
            read += len(changes)
            events: list[Event] = [(change, change._transaction.micros) for change in changes]
            pending += [item for item, _ in self._applied(events)]
            while len(pending) > size or (pending and len(pending) == size):
                self._sink.write(pending[:size])
                written += len(pending[:size])
                del pending[:size]
            now, stopped = monotonic(), self._waiting.stopped
            if source.between and (written or not pending or now - since >= patience or stopped):
                if pending:
                    self._sink.write(pending)
                    written += len(pending)
                    pending = []
                if written or (read and (not self._remembers or now - committed >= _CHECKPOINT or stopped)):
                    self._commit(written)
                    self._read, self._written = self._read + read, self._written + written
                    read, written, committed = 0, 0, now
            if stopped:
                return

    def _patience(self, pending: list[Any], since: float) -> float:
        seconds = _IDLE
        if pending and self._source.between:
            seconds = max(0.0, self._batching.seconds - (monotonic() - since))
        if any(stage.waits for stage in self._stages):
            self._source.ask_clock()
            seconds = min(seconds, _CLOCK_EVERY)
        return min(seconds, _CHECKPOINT) if self._remembers else seconds

    def _applied(self, events: list[Event]) -> list[Event]:
        clock = int(self._source.clock * 1e6) if self._source.between else 0
        for stage in self._stages:
            events = stage.apply(events)
            if clock:
                events += stage.advance(clock)
        return events

    def _commit(self, written: int) -> None:
        state = kept_text([stage.keep() for stage in self._stages]) if self._remembers else ""
        kept = Kept(self._source.mark, state)
        if isinstance(self._sink, Keeping):
            if written or self._remembers:
                self._sink.commit_at(kept)
        else:
            self._sink.commit()
            if self._remembers:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    write_mark(connection, self._source.stream, self._last, kept, self._source.origin)
        self._last = kept
        self._failures = 0
        self._source.acknowledge_all()

    def _go_back(self, error: Exception) -> None:
        """Pause, and begin again behind the last commit; or raise what ends the flow."""
        while not self._waiting.stopped:
            rule = rule_for(error)
            lost = isinstance(error, (ConnectionError, TimeoutError)) and not isinstance(error, SQLAlchemyError)
            if rule is None and not lost:
                raise error
            self._failures += 1
            self._again += 1
            tries = min(self._failures, 8)
            doubled = min(self._delay * 2 ** (tries - 1), _LONGEST_PAUSE)
            seconds = rule.seconds(tries, self._delay) if rule is not None else doubled
            if self._tell is not None:
                self._tell(Retried(self._failures, seconds, error))
            self._waiting.rest(seconds)
            try:
                if isinstance(self._sink, Keeping):
                    with suppress(SQLAlchemyError):
                        self._sink.undo()
                self._begin()
            except (SQLAlchemyError, ConnectionError, TimeoutError) as next_error:
                error = next_error
            else:
                return
