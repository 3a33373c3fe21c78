"""db.replica over real streaming replicas: balanced, bounded in staleness, back to the primary where they lag or are gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session

from dal import ConfigError, Database, PoolConfig
from dal.embedded import EmbeddedServer
from tests.database.doors import DOORS, Door, open_door
from tests.faults.conftest import admin, until

SETTINGS = {"max_connections": "60", "max_wal_senders": "10", "synchronous_commit": "on"}
BOUND = 0.6


@dataclass
class Cluster:
    primary: EmbeddedServer
    replicas: list[EmbeddedServer]

    def name(self, port: int) -> str:
        return "primary" if port == self.primary.port else f"replica {[one.port for one in self.replicas].index(port)}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedServer(tcp=True, settings=SETTINGS))
        admin(primary, "CREATE TABLE seen (n int)")
        replicas = [stack.enter_context(primary.basebackup(tcp=True, settings=SETTINGS)) for _ in range(2)]
        yield Cluster(primary, replicas)


@pytest.fixture(params=DOORS)
def opened(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Callable[..., Door]]:
    with ExitStack() as stack:

        def open_it(**options: Any) -> Door:
            pool = PoolConfig(min_pool_size=0, max_pool_size=4, retry_delay="20ms")
            urls = [one.url() for one in cluster.replicas]
            options = {"pool": pool, "replicas": urls, "staleness": BOUND, **options}
            return stack.enter_context(open_door(request.param, cluster.primary.url(), **options))

        yield open_it


def read(db: Door, work: Callable[[Session], Any]) -> Any:
    def call(database: Any) -> Any:
        return database.replica.run(work if isinstance(database, Database) else lambda session: session.run_sync(work))

    return db.call(call)


def port(session: Session) -> int:
    return session.scalar(select(func.inet_server_port())) or 0


def served_by(db: Door, cluster: Cluster, times: int = 8) -> set[str]:
    return {cluster.name(read(db, port)) for _ in range(times)}


def test_reads_are_balanced_over_the_replicas(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    names = [cluster.name(read(db, port)) for _ in range(20)]
    assert names.count("replica 0") == names.count("replica 1") == 10


def test_a_session_stays_where_its_transaction_began(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})

    def sync(database: Any) -> list[list[int]]:
        with database.replica.session() as session:
            return transactions(session)

    async def asynchronous(database: Any) -> list[list[int]]:
        async with database.replica.session() as session:
            found: list[list[int]] = await session.run_sync(transactions)
            return found

    def transactions(session: Session) -> list[list[int]]:
        found = []
        for _ in range(2):
            found.append([port(session) for _ in range(3)])
            session.rollback()
        return found

    first, second = db.call(lambda database: sync(database) if isinstance(database, Database) else asynchronous(database))
    assert len(set(first)) == len(set(second)) == 1
    assert first != second


def test_writing_is_refused(opened: Callable[..., Door], cluster: Cluster) -> None:
    with pytest.raises(InternalError, match="read-only transaction"):
        read(opened(), lambda session: session.execute(text("INSERT INTO seen VALUES (1)")))
    with pytest.raises(InternalError, match="read-only transaction"):
        read(opened(replicas=[]), lambda session: session.execute(text("INSERT INTO seen VALUES (1)")))


def test_without_replicas_the_primary_serves(opened: Callable[..., Door], cluster: Cluster) -> None:
    assert served_by(opened(replicas=[]), cluster) == {"primary"}


def test_one_that_lags_is_left_out(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    admin(cluster.replicas[0], "SELECT pg_wal_replay_pause()")
    try:
        admin(cluster.primary, "INSERT INTO seen VALUES (1)")
        until(lambda: served_by(db, cluster, 4) == {"replica 1"}, 5)
        assert "replica" in str(db.call(lambda database: database.health()).problems)
    finally:
        admin(cluster.replicas[0], "SELECT pg_wal_replay_resume()")
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})


def test_what_is_read_is_never_older_than_the_bound(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    admin(cluster.primary, "TRUNCATE seen")
    written: list[float] = []
    late = 0.0
    with ExitStack() as stack:
        for replica in cluster.replicas:
            stack.callback(admin, replica, "SELECT pg_wal_replay_resume()")
        end = time.monotonic() + 4
        while time.monotonic() < end:
            admin(cluster.primary, "INSERT INTO seen VALUES (1)")
            written.append(time.monotonic())
            asked = time.monotonic()
            missing = written[read(db, lambda session: session.scalar(text("SELECT count(*) FROM seen"))) :]
            late = max([late, *(asked - at for at in missing[:1])])
            if len(written) % 60 == 0:
                paused = len(written) % 120 == 60
                for replica in cluster.replicas:
                    admin(replica, "SELECT pg_wal_replay_pause()" if paused else "SELECT pg_wal_replay_resume()")
    assert late <= BOUND
    assert len(written) > 60


def test_one_that_dies_is_not_noticed(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    cluster.replicas[0].kill()
    try:
        began = time.monotonic()
        assert served_by(db, cluster, 20) <= {"replica 1", "primary"}
        assert time.monotonic() - began < 5
        until(lambda: served_by(db, cluster, 4) == {"replica 1"})
    finally:
        cluster.replicas[0].start()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})


def test_all_of_them_die(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    for replica in cluster.replicas:
        replica.kill()
    try:
        assert served_by(db, cluster, 10) == {"primary"}
        assert len(db.call(lambda database: database.health()).problems) >= 2
    finally:
        for replica in cluster.replicas:
            replica.start()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})


def test_one_that_is_frozen_is_left_out(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened(replicas=[cluster.replicas[0].url()])
    until(lambda: served_by(db, cluster, 2) == {"replica 0"})
    time.sleep(0.6)
    frozen = [cluster.replicas[0].pid, *_backends(cluster.replicas[0])]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert served_by(db, cluster, 5) == {"primary"}
        assert time.monotonic() - began < 5
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
    until(lambda: served_by(db, cluster, 2) == {"replica 0"})


def _backends(server: EmbeddedServer) -> list[int]:
    return [row[0] for row in admin(server, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'dal%%'", *())]


def test_while_the_primary_is_gone_the_replicas_serve(opened: Callable[..., Door], cluster: Cluster) -> None:
    db = opened()
    until(lambda: served_by(db, cluster, 4) == {"replica 0", "replica 1"})
    cluster.primary.halt("immediate")
    try:
        end = time.monotonic() + 2 * BOUND
        while time.monotonic() < end:
            assert served_by(db, cluster, 4) <= {"replica 0", "replica 1"}
    finally:
        cluster.primary.start()


def test_a_promoted_replica_is_one_no_more(cluster: Cluster) -> None:
    with ExitStack() as stack:
        replica = stack.enter_context(cluster.primary.basebackup(tcp=True, settings=SETTINGS))
        db = stack.enter_context(Database(cluster.primary.url(), replicas=[replica.url()]))
        until(lambda: db.replica.run(port) == replica.port)
        replica.promote()
        until(lambda: db.replica.run(port) == cluster.primary.port)
        assert "no replica any more" in db.replica.states()[0].problem


def test_a_server_that_replicates_nothing_is_not_read(server: EmbeddedServer, cluster: Cluster) -> None:
    with Database(cluster.primary.url(), replicas=[server.url()]) as db:
        until(lambda: "it is no replica" in db.replica.states()[0].problem)
        assert db.replica.run(port) == cluster.primary.port


@pytest.mark.parametrize("wrong", [["sqlite://"], "postgresql+psycopg://host/shop", ["nonsense"]])
def test_what_is_no_replica(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        Database("postgresql+psycopg://host/shop", replicas=wrong)
