"""Cache: values by key, fetched once, kept until something they were read from is written.

The function that fetches a value gets a session of its own, in a transaction of its own: what a caller has not committed is
never in it. What the function reads is watched, so the value is spoiled by writes to exactly those tables. A value that was
read while one of them was written is given to its caller and not kept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from dal.cache.entry import Entry
from dal.cache.forms import copies, dictionaries, patterns, shapes
from dal.cache.frozen import freeze
from dal.cache.recording import Recording, current, recorded
from dal.cache.runtime import Runtime
from dal.cache.shelf import Shelf
from dal.cache.single_flight import SingleFlight
from dal.cache.sizes import ENTRY, TAG, size_of
from dal.cache.snapshot import CURRENT, Snapshot
from dal.cache.stats import CacheStats
from dal.cache.tables import names_of, with_deleted
from dal.cache.watch import Watch, note
from dal.errors import UsageError
from dal.own_statements import ask

if TYPE_CHECKING:
    from dal.cache.second import SecondLevel

__all__ = ["Cache", "Form"]

T = TypeVar("T")
F = TypeVar("F")
D = TypeVar("D")

Form = Callable[[Entry], F]
"""Makes what a caller gets of what is kept: `copies`, `shapes` or `dictionaries`."""

_log = logging.getLogger("dal.cache")
_FIRST_WAIT = 1.0
_TRIES = 3
_MOST_REFRESHES = 4
_leading: ContextVar[tuple[Hashable, ...]] = ContextVar("dal_cache_leading", default=())


class Cache:
    """The cache of a database: `db.cache`.

    Args:
        shelf: What is kept here.
        second: The second level, if there is one.
        watch: The engines that are watched for writes; None where nothing is kept.
        sessions: Makes a session to fetch with.
        trying: Runs a read, and runs it again after a transient fault.
        runtime: Threads or tasks.
    """

    def __init__(
        self,
        shelf: Shelf,
        second: SecondLevel | None,
        watch: Watch | None,
        *,
        sessions: Callable[[], Session],
        trying: Callable[[Callable[[], Any]], Any],
        runtime: Runtime,
    ) -> None:
        self._shelf = shelf
        self.look_up = self._get = shelf.get
        self._second = second
        self._watch = watch
        self._sessions = sessions
        self._trying = trying
        self._runtime = runtime
        self._flights: SingleFlight[Entry] = SingleFlight()
        self._counting = threading.Lock()
        self._counted: dict[str, int] = dict.fromkeys(("misses", "waited", "shared_hits", "stale_hits", "primed"), 0)
        self._refreshes = threading.BoundedSemaphore(_MOST_REFRESHES)
        self._waited_for_bus = False

    @overload
    def fetch(self, key: Hashable, load: Callable[[Session], T], *, tables: Iterable[Any] = ()) -> T: ...
    @overload
    def fetch(self, key: Hashable, load: Callable[[Session], Any], *, form: Form[F], tables: Iterable[Any] = ()) -> F: ...
    def fetch(
        self, key: Hashable, load: Callable[[Session], Any], *, form: Form[Any] = copies, tables: Iterable[Any] = ()
    ) -> Any:
        """Return what is kept under a key, or fetch it; many callers at one time send one query.

        Args:
            key: What the value is known by: a text or a tuple of plain values that says everything it depends on.
            load: Fetches it with the session it is given: mapped objects, rows, plain values, in lists and so on.
            form: `copies` of mapped objects, `shapes` that nobody can change, or `dictionaries`.
            tables: Names, tables or mapped classes that it depends on beyond what `load` reads through SQLAlchemy.

        Returns:
            The value, detached and the caller's own (shapes are everybody's).

        Raises:
            UsageError: What was loaded cannot be kept, or one of `tables` is no table.

        Example:
            >>> from sqlalchemy import text
            >>> from dal import Database, MemoryCache
            >>> with Database("sqlite://", cache=MemoryCache()) as db:
            ...     [db.cache.fetch("one", lambda session: session.scalar(text("SELECT 1"))) for _ in range(2)]
            [1, 1]
        """
        entry = self._get(key)
        if entry is None or entry.fresh_until <= monotonic():
            entry = self._miss(key, entry, load, tables)
        if current() is not None:
            self._part_of_another(entry)
        return entry.root if entry.plain else self.formed(key, entry, form)

    @property
    def keeps(self) -> bool:
        """Whether it keeps anything."""
        return self._watch is not None

    def hit(self, key: Hashable) -> Entry | None:
        """Return what is kept under a key, if it is fresh."""
        entry = self._get(key)
        if entry is None or entry.fresh_until > monotonic():
            return entry
        self._shelf.unused(key, entry)
        return None

    def unused(self, key: Hashable, entry: Entry) -> None:
        """Say that what `look_up` gave was not used, since its time is over; for the async door."""
        self._shelf.unused(key, entry)

    def formed(self, key: Hashable, entry: Entry, form: Form[F]) -> F:
        """Return what is kept in the form a caller wants."""
        if form is shapes and entry.shapes is None and not entry.plain:
            self._shelf.grow(key, entry, size_of(entry.frozen, shapes(entry)) - size_of(entry.frozen))
        elif form is dictionaries and entry.patterns is None and entry.frozen.nodes:
            self._shelf.grow(key, entry, size_of(entry.frozen, patterns(entry)) - size_of(entry.frozen))
        elif not callable(form):
            raise UsageError(f"form={form!r} is none", hint="form=shapes, form=dictionaries, or none for copies")
        return form(entry)

    def peek(self, key: Hashable, *, form: Form[Any] = copies, default: Any = None) -> Any:
        """Return what is kept in this process under a key, without fetching.

        Args:
            key: The key.
            form: As for `fetch`.
            default: What to return where nothing is.

        Returns:
            The value.
        """
        entry = self.hit(key)
        if entry is None:
            return default
        return entry.root if entry.plain else self.formed(key, entry, form)

    def prime(self, key: Hashable, load: Callable[[Session], Any], *, tables: Iterable[Any] = ()) -> bool:
        """Fetch a value before it is asked for.

        Args:
            key: The key.
            load: As for `fetch`.
            tables: As for `fetch`.

        Returns:
            Whether it is there now: False where a write came in between, or somebody else is fetching it just now.
        """
        _check_load(load)
        if self.has(key):
            return True
        self._await_bus()
        if self._watch is None or not self._flights.join(key)[1]:
            return False
        self._count("primed")
        return self._lead(key, load, names_of(tables)).kept

    def has(self, key: Hashable) -> bool:
        """Tell whether something fresh is kept in this process under a key; it does not count as a use."""
        entry = self._shelf.look(key)
        return entry is not None and entry.fresh_until > monotonic()

    def spoil(self, *tables: Any, within: Session | Connection | None = None) -> None:
        """Say that tables were, or will be, written by a way that SQLAlchemy does not show.

        Args:
            tables: Names, tables or mapped classes; none at all is every table.
            within: The session or connection whose transaction writes them: they are spoiled when it commits. At once without.

        Raises:
            UsageError: One of them is no table, or `within` is neither.
        """
        names = with_deleted(names_of(tables)) if tables else None
        if within is None:
            self._shelf.committed(names, doubtful=False)
        elif not isinstance(within, (Session, Connection)):
            raise UsageError(f"within={within!r} is no session or connection", hint="db.cache.spoil('users', within=session)")
        else:
            note(within.connection() if isinstance(within, Session) else within, names)

    def forget(self, key: Hashable) -> None:
        """Drop one key from this process."""
        self._shelf.forget(key)

    def clear(self) -> None:
        """Drop everything from this process."""
        self._shelf.clear()

    def watch(self, engine: Engine) -> None:
        """Watch another engine of the same database for writes; one with the same URL is found by itself.

        Args:
            engine: The engine; of an async engine its `sync_engine`.

        Raises:
            UsageError: It is none.
        """
        if not isinstance(engine, Engine):
            raise UsageError(
                f"{engine!r} is no engine", hint="db.cache.watch(create_engine(url)), or an async engine's sync_engine"
            )
        if self._watch is not None:
            self._watch.attach(engine)

    def stats(self) -> CacheStats:
        """Return what the cache did, in numbers."""
        shelf, store = self._shelf, self._shelf.store
        return CacheStats(
            **self._counted,
            hits=shelf.hits,
            fills=shelf.fills,
            refused=shelf.refused,
            restarts=shelf.restarts,
            spoiled=store.spoiled if store else 0,
            evicted=store.evicted if store else 0,
            oversized=store.oversized if store else 0,
            entries=len(store.entries) if store else 0,
            bytes=store.bytes if store else 0,
            unshared=self._second.unshared if self._second else 0,
            shared_errors=self._second.errors if self._second else 0,
            listening=shelf.bus is not None and shelf.bus.listening,
        )

    def reset(self) -> None:
        """Begin anew in a forked child."""
        self._shelf.reset()
        self._flights = SingleFlight()
        self._counting = threading.Lock()
        self._refreshes = threading.BoundedSemaphore(_MOST_REFRESHES)
        self._waited_for_bus = False

    def hang_up(self) -> None:
        """Tell the other processes what is not told yet, and that this one ends; for the end of the interpreter."""
        if self._shelf.bus is not None:
            self._shelf.bus.close()

    def close(self) -> None:
        """Stop watching and listening, and let go of everything; again is nothing."""
        if self._watch is not None:
            self._watch.close()
        self.hang_up()
        if self._second is not None:
            self._second.close()
        self._shelf.clear()

    def _miss(self, key: Hashable, stale: Entry | None, load: Callable[[Session], Any], tables: Iterable[Any]) -> Entry:
        named = names_of(tables)
        _check_load(load)
        if stale is not None:
            if stale.usable_until > monotonic():
                self._count("stale_hits")
                self._refresh(key, load, named)
                return stale
            self._shelf.unused(key, stale)
        self._count("misses")
        if self._watch is None or key in _leading.get():
            return self._load(key, load, named)
        self._await_bus()
        for _ in range(_TRIES):
            joined = self._shelf.now()
            flight, leads = self._flights.join(key)
            if leads:
                return self._runtime.lead(lambda: self._lead(key, load, named))
            entry = self._runtime.wait(flight)
            # Whoever wrote before he joined must not be given what was read before he wrote.
            if entry is not None and (joined <= entry.since or self._shelf.admits(entry)):
                self._count("waited")
                return entry
        return self._load(key, load, named)

    def _lead(self, key: Hashable, load: Callable[[Session], Any], tables: frozenset[str]) -> Entry:
        """Fetch what others may be waiting for."""
        there = self._shelf.look(key)
        if there is not None and there.fresh_until > monotonic():
            # It came between the caller's look and the flight.
            self._flights.land(key, there)
            return there
        landed: Entry | None = None
        token = _leading.set((*_leading.get(), key))
        try:
            landed = self._load(key, load, tables)
            return landed
        finally:
            _leading.reset(token)
            self._flights.land(key, landed)

    def _load(self, key: Hashable, load: Callable[[Session], Any], tables: frozenset[str]) -> Entry:
        """Fetch a value, and keep it if it may be."""
        since = self._shelf.now()
        if self._second is not None and self._shelf.trusted:
            found = self._second.get(key, since)
            if found is not None and self._shelf.keep_foreign(key, found):
                self._count("shared_hits")
                return found
        recording = Recording(tables)
        frozen = self._trying(lambda: self._read(load, recording))
        read = frozenset(recording.tables)
        entry = Entry(frozen, read, recording.snapshot, size_of(key, frozen) + ENTRY + TAG * len(read))
        entry.clean, entry.since = recording.clean, since
        if self._shelf.keep(key, entry, since) and self._second is not None:
            self._second.put(key, entry)
        return entry

    def _read(self, load: Callable[[Session], Any], recording: Recording, frozen: Callable[[Any], Any] = freeze) -> Any:
        with recorded(recording), self._sessions() as session:
            if self._shelf.bus is not None and self._shelf.bus.listening:
                recording.value(frozenset(), Snapshot.of(ask(session.connection(), CURRENT)[0]))
            return frozen(load(session))

    def _part_of_another(self, entry: Entry) -> None:
        outer = current()
        if outer is not None:
            outer.value(entry.tables, entry.snapshot)
            outer.clean = outer.clean and entry.clean

    def _refresh(self, key: Hashable, load: Callable[[Session], Any], tables: frozenset[str]) -> None:
        if self._flights.under_way(key) or not self._refreshes.acquire(blocking=False):
            return

        def work() -> None:
            try:
                if self._flights.join(key)[1]:
                    self._lead(key, load, tables)
            except Exception:
                _log.warning("a value of the cache could not be fetched anew", exc_info=True)
            finally:
                self._refreshes.release()

        self._runtime.spawn(work)

    def _await_bus(self) -> None:
        """Wait, once, until the writes of other processes are heard."""
        if self._shelf.bus is not None and not self._waited_for_bus:
            self._runtime.wait_until(self._shelf.bus.start(), _FIRST_WAIT)
            self._waited_for_bus = True

    def _count(self, what: str) -> None:
        with self._counting:
            self._counted[what] += 1


def _check_load(load: object) -> None:
    if not callable(load):
        raise UsageError(f"{load!r} cannot fetch", hint="db.cache.fetch(key, lambda session: session.scalars(...).all())")
