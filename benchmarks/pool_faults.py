"""What an application sees of faults, without retries: dal's pool beside SQLAlchemy's QueuePool and psycopg_pool.

Run it with `python benchmarks/pool_faults.py`. Eight threads read in a loop on eight connections of a real server, which is
harmed; then errors are counted until every thread has succeeded again, or for five seconds. After an error a thread pauses for
10 ms.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import psycopg_pool
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dal.embedded import EmbeddedServer
from dal.pool import ConnectionPool

THREADS, PATIENCE, NAME = 8, 5.0, "harmed"


def conninfo(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def queue_pool(url: URL, **settings: Any) -> Iterator[Engine]:
    engine = create_engine(url, pool_size=THREADS, max_overflow=0, pool_timeout=8, **settings)
    yield engine
    engine.dispose()


@contextmanager
def psycopg_pool_behind_null(url: URL) -> Iterator[Engine]:
    pool = psycopg_pool.ConnectionPool(
        conninfo(url),
        min_size=THREADS,
        max_size=THREADS,
        timeout=8,
        open=True,
        close_returns=True,
        check=psycopg_pool.ConnectionPool.check_connection,
    )
    pool.wait()
    yield create_engine(url, poolclass=NullPool, creator=pool.getconn)
    pool.close(timeout=1)


@contextmanager
def ours(url: URL) -> Iterator[Engine]:
    engine = create_engine(
        url, poolclass=ConnectionPool, min_pool_size=THREADS, max_pool_size=THREADS, connection_timeout=8, test_while_idle=False
    )
    assert isinstance(engine.pool, ConnectionPool)
    engine.pool.warm_up()
    yield engine
    engine.pool.close(timeout=1)


class Load:
    """Threads that read, count errors and note their latest success."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.errors, self.latest = engine, 0, [0.0] * THREADS
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def work(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                with self.engine.connect() as connection:
                    connection.execute(text("SELECT pg_sleep(0.001)"))
            except SQLAlchemyError:
                with self._lock:
                    self.errors += 1
                time.sleep(0.01)
            except psycopg_pool.PoolTimeout:
                with self._lock:
                    self.errors += 1
            else:
                self.latest[number] = time.monotonic()

    def run(self, harm: Callable[[], float]) -> str:
        """Harm the server under load; return errors and the time until all threads were served again."""
        workers = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(THREADS)]
        for worker in workers:
            worker.start()
        time.sleep(0.3)
        since = harm()
        end = since + PATIENCE
        while time.monotonic() < end and min(self.latest) <= since:
            time.sleep(0.001)
        whole = min(self.latest) > since
        took = time.monotonic() - since
        self._stop.set()
        for worker in workers:
            worker.join(10)
        return f"{self.errors:6d} errors, " + (
            f"whole after {took * 1000:7.0f} ms" if whole else f"not whole in {PATIENCE:.0f} s"
        )


def statement(server: EmbeddedServer, sql: str) -> list[Any]:
    with psycopg.connect(conninfo(server.url()), autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


def kill(server: EmbeddedServer) -> float:
    statement(server, f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{NAME}'")
    return time.monotonic()


def down(server: EmbeddedServer, seconds: float) -> float:
    server.halt("immediate")
    time.sleep(seconds)
    back = [0.0]

    def watch() -> None:
        while not back[0]:
            with suppress(psycopg.OperationalError):
                psycopg.connect(conninfo(server.url()), connect_timeout=5).close()
                back[0] = time.monotonic()
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    server.start()
    watcher.join()
    return back[0]


def frozen(server: EmbeddedServer, engine: Engine) -> str:
    """Freeze every idle backend and borrow once."""
    with ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(engine.connect())
    time.sleep(0.6)
    victims = [row[0] for row in statement(server, f"SELECT pid FROM pg_stat_activity WHERE application_name = '{NAME}'")]
    for victim in victims:
        os.kill(victim, signal.SIGSTOP)
    served = threading.Event()
    began = time.monotonic()

    def borrow() -> None:
        with suppress(Exception), engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            served.set()

    worker = threading.Thread(target=borrow, daemon=True)
    worker.start()
    worker.join(PATIENCE)
    took = time.monotonic() - began
    answer = f"served after {took * 1000:.0f} ms" if served.is_set() else f"not served in {PATIENCE:.0f} s"
    for victim in victims:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)
    worker.join(10)
    return answer


def main() -> None:
    pools: dict[str, Callable[[URL], Any]] = {
        "QueuePool": queue_pool,
        "QueuePool + pre_ping": lambda url: queue_pool(url, pool_pre_ping=True),
        "psycopg_pool + check behind NullPool": psycopg_pool_behind_null,
        "dal": ours,
    }
    with EmbeddedServer(tcp=True) as server:
        url = server.url().update_query_dict({"application_name": NAME})
        harms: dict[str, Callable[[Engine], str]] = {
            "all backends killed under load": lambda engine: Load(engine).run(lambda: kill(server)),
            "immediate restart under load": lambda engine: Load(engine).run(lambda: down(server, 0.0)),
            "server down for 5 s under load": lambda engine: Load(engine).run(lambda: down(server, 5.0)),
            "idle backends frozen": lambda engine: frozen(server, engine),
        }
        for title, harm in harms.items():
            print(f"\n{title}")
            for name, make in pools.items():
                with make(url) as engine:
                    print(f"  {name:<38}{harm(engine)}", flush=True)


if __name__ == "__main__":
    main()
