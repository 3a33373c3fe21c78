"""Reading from replicas: each transaction goes to the next replica that is fresh enough, or to the primary where none is.

`Database(url, replicas=[url, ...], staleness="5s")` and then `db.replica.session()`, `.run()`, `.unit()`. What must not be seen
late, such as a row that the same request has just written, is read from the primary. A transaction stays where it began; one
that loses its server is run again elsewhere, if it is a unit or a single read. The primary serves until the first look at the
replicas, some 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextvars import ContextVar
from itertools import count
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from dal import deadlines
from dal.database.engines import close_engine
from dal.database.health import Problem
from dal.database.lag import Lag, ReplicaState
from dal.database.reads import retrying_session
from dal.database.units import Isolation, Trying, Unit, describe, leave_no_mode
from dal.durations import Duration
from dal.errors import ConnectFailed, PoolTimeout
from dal.events import OpenFailed, TimedOut

__all__ = ["Replica", "Replicas", "elsewhere", "replica_session"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CHOSEN = "dal.replica"

_missed: ContextVar[bool] = ContextVar("dal_replica_missed", default=False)


class Replicas:
    """Knows the replicas of a primary and chooses one.

    Args:
        primary: The primary's engine.
        engines: The replicas' engines.
        url: The primary's URL.
        urls: The replicas' URLs.
        bound: Seconds that a replica may be behind.
    """

    def __init__(self, primary: Engine, engines: Sequence[Engine], *, url: URL, urls: Sequence[URL], bound: float) -> None:
        self.states = [
            ReplicaState(f"{one.host or one.query.get('host')}:{one.port or one.query.get('port', 5432)}") for one in urls
        ]
        self.bound = bound
        self.engines = list(engines)
        leave_no_mode(primary)
        self._primary = _read_only(primary)
        self._choices = [(_read_only(engine), state) for engine, state in zip(engines, self.states, strict=True)]
        for engine, state in zip(engines, self.states, strict=True):
            _watch(engine, state)
        self._turn = count()
        self._lag = Lag(url, urls, self.states, bound=bound) if engines else None
        if self._lag is not None:
            self._lag.start()

    def choose(self) -> Engine:
        """Return the engine of the next replica that is fresh enough, or that of the primary."""
        now = monotonic()
        fresh = [engine for engine, state in self._choices if state.behind(now) <= self.bound]
        return fresh[next(self._turn) % len(fresh)] if fresh else self._primary

    def keep_to_deadline(self) -> None:
        """Make the replicas' statements keep to the deadline in force, if there is one."""
        if deadlines.current() is not None:
            for engine in self.engines:
                deadlines.keep_to(engine)

    def problems(self) -> list[Problem]:
        """Say which replicas are not used, and why."""
        now = monotonic()
        return [
            Problem(
                f"the replica {state.where} is not used: {state.problem or f'it is {state.behind(now):.3g} s behind'}",
                "look at it and at its connection to the primary"
                if state.problem
                else "allow more staleness, or give it less to do",
            )
            for state in self.states
            if state.behind(now) > self.bound
        ]

    def close(self) -> None:
        """Stop looking at the replicas and close the connections to them."""
        if self._lag is not None:
            self._lag.close()
        for engine in self.engines:
            close_engine(engine)


def replica_session(base: type[Session], replicas: Replicas, trying: Trying) -> type[Session]:
    """Make the class of sessions whose transactions each go to a replica.

    Args:
        base: The class they would have had.
        replicas: Chooses.
        trying: How single reads are run again.

    Returns:
        The class.
    """

    def get_bind(session: Session, mapper: Any = None, **further: Any) -> Engine:
        chosen: Engine | None = session.info.get(_CHOSEN)
        if chosen is None or not session.in_transaction():
            chosen = session.info[_CHOSEN] = replicas.choose()
        return chosen

    found = retrying_session(base, trying)
    found.get_bind = get_bind  # type: ignore[method-assign,assignment]
    event.listen(found, "after_begin", _begun)
    event.listen(found, "after_transaction_end", _ended)
    return found


class Replica:
    """The replicas of a database, to be read from; `db.replica`.

    Args:
        sessions: Makes sessions over the replicas.
        replicas: The replicas.
        trying: How units are run again.
        primary: The primary's engine.
    """

    def __init__(self, sessions: sessionmaker[Session], replicas: Replicas, trying: Trying, primary: Engine) -> None:
        self._sessions, self._replicas, self._trying, self._primary = sessions, replicas, trying, primary

    def session(self) -> Session:
        """Make a read-only session; each of its transactions goes to a replica, or to the primary where none is fit."""
        self._replicas.keep_to_deadline()
        return self._sessions()

    def unit(
        self, *, isolation: Isolation | None = None, deadline: Duration | None = None, retry_on: Collection[str] = ()
    ) -> Unit:
        """Describe a unit of work that only reads; see `Database.unit`."""
        return describe(
            self.session, self._trying, self._primary, read_only=True, isolation=isolation, deadline=deadline, retry_on=retry_on
        )

    def run(self, work: Callable[Concatenate[Session, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function that only reads in one transaction; see `Database.run`."""
        return self.unit().run(work, *args, **kwargs)

    def states(self) -> Sequence[ReplicaState]:
        """Return what is known of each replica."""
        return tuple(self._replicas.states)

    def problems(self) -> list[Problem]:
        """Say which replicas are not used, and why."""
        return self._replicas.problems()

    def close(self) -> None:
        """Let go of the replicas; `db.close()` does it."""
        self._replicas.close()


def elsewhere(error: BaseException) -> bool:
    """Tell whether an error means that another server may do it: a replica could not be reached."""
    missed = _missed.get()
    _missed.set(False)
    return isinstance(error, ConnectFailed) or (isinstance(error, PoolTimeout) and missed)


def _read_only(engine: Engine) -> Engine:
    return engine.execution_options(postgresql_readonly=True) if engine.dialect.name == "postgresql" else engine


def _place(url: URL) -> str:
    return f"{url.host or url.query.get('host', 'localhost')}:{url.port or url.query.get('port', 5432)}"


def _watch(engine: Engine, state: ReplicaState) -> None:
    def failed(context: ExceptionContext) -> None:
        if context.is_disconnect:
            state.fail("a connection to it was lost")

    def note(fact: object) -> None:
        if isinstance(fact, (OpenFailed, TimedOut)):
            state.fail("no connection to it could be made")
        if isinstance(fact, TimedOut):
            # Told to the borrower itself, unlike a failure to connect.
            _missed.set(True)

    event.listen(engine, "handle_error", failed)
    observe: Callable[[Any], Any] | None = getattr(engine.pool, "observe", None)
    if observe is not None:
        observe(note)


def _begun(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    session.info[_CHOSEN] = connection.engine


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_CHOSEN, None)
