"""The connection dies around COMMIT: nothing is lost, nothing applied twice, and only the unknowable is called unknown."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import CommitUnknown, PoolConfig
from dal.embedded import EmbeddedServer
from dal.events import CommitSettled, Retried
from tests.database.doors import DOORS, Door, open_door
from tests.faults.conftest import admin, until
from tests.faults.cuts import CUTS, CommitProxy, Cut


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[CommitProxy]:
    assert server.port is not None
    admin(server, "CREATE TABLE IF NOT EXISTS applied (k int, try int)")
    admin(server, "TRUNCATE applied")
    with CommitProxy(server.port) as proxy:
        yield proxy


def behind(server: EmbeddedServer, proxy: CommitProxy) -> URL:
    return server.url().set(port=proxy.port)


def write(key: int) -> Any:
    tries: list[int] = []

    def work(session: Session) -> int:
        tries.append(1)
        session.execute(text("INSERT INTO applied VALUES (:key, :tries)"), {"key": key, "tries": len(tries)})
        return len(tries)

    return work


def cut_many(db: Door, proxy: CommitProxy, server: EmbeddedServer, how_many: int, pause: float = 0.0) -> None:
    expected = {}
    for key in range(how_many):
        proxy.cut = CUTS[key % len(CUTS)]
        expected[key] = db.run(write(key))
        time.sleep(pause)
    assert proxy.cuts == how_many
    assert dict(admin(server, "SELECT k, max(try) FROM applied GROUP BY k")) == expected
    assert admin(server, "SELECT k FROM applied GROUP BY k HAVING count(*) <> 1") == []


def test_thirty_cuts_lose_nothing_and_apply_nothing_twice(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    with open_door(door, behind(server, proxy)) as db:
        cut_many(db, proxy, server, 30)


@pytest.mark.soak
def test_a_thousand_cuts_lose_nothing_and_apply_nothing_twice(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    with open_door(door, behind(server, proxy)) as db:
        # Slowly enough for the retry budget, since two of three units fail here.
        cut_many(db, proxy, server, 1000, pause=0.05)


@pytest.mark.parametrize(("cut", "outcome", "tries"), [("request lost", "aborted", 2), ("reply lost", "committed", 1)])
def test_what_became_of_it_is_told(
    door: str, server: EmbeddedServer, proxy: CommitProxy, cut: Cut, outcome: str, tries: int
) -> None:
    facts: list[object] = []
    with open_door(door, behind(server, proxy)) as db:
        db.observe(facts.append)
        proxy.cut = cut
        assert db.run(write(1)) == tries
    settled = [fact for fact in facts if isinstance(fact, CommitSettled)]
    assert [fact.outcome for fact in settled] == [outcome]
    assert len([fact for fact in facts if isinstance(fact, Retried)]) == tries - 1


def test_a_unit_that_wrote_nothing_is_simply_run_again(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    facts: list[object] = []
    with open_door(door, behind(server, proxy)) as db:
        db.observe(facts.append)
        proxy.cut = "reply lost"
        assert db.run(lambda session: session.scalar(text("SELECT 7"))) == 7
    assert not [fact for fact in facts if isinstance(fact, CommitSettled)]
    assert len([fact for fact in facts if isinstance(fact, Retried)]) == 1


def test_a_transaction_that_waits_for_its_lost_client_is_ended(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    # The server never hears that the client has gone: only ending the backend clears it up.
    with open_door(door, behind(server, proxy)) as db:
        proxy.cut, proxy.late = "late", 5.0
        assert db.run(write(1)) == 2
    assert admin(server, "SELECT k, try FROM applied") == [(1, 2)]


@pytest.mark.parametrize("cut", ["request lost", "reply lost"])
@pytest.mark.parametrize("end", ["immediate", "fast", "kill", "backend"])
def test_the_server_goes_down_in_the_same_moment(
    door: str, server: EmbeddedServer, proxy: CommitProxy, cut: Cut, end: str
) -> None:
    def down() -> None:
        if end == "backend":
            crash_a_backend(server)
        elif end == "kill":
            server.kill()
            server.start()
        else:
            server.restart("immediate" if end == "immediate" else "fast")

    with open_door(door, behind(server, proxy), pool=PoolConfig(min_pool_size=0, max_pool_size=2, retry_delay="20ms")) as db:
        db.run(write(0))
        proxy.cut, proxy.at_cut = cut, down
        tries = db.run(write(1))
    assert tries == (1 if cut == "reply lost" else 2)
    assert admin(server, "SELECT try FROM applied WHERE k = 1") == [(tries,)]


def crash_a_backend(server: EmbeddedServer) -> None:
    """Kill one backend the hard way: all of them go, and the server recovers by itself."""
    url = server.url().set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as victim:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        until(lambda: _gone(victim))

    def back() -> bool:
        try:
            return bool(admin(server, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    until(back)


def _gone(connection: Any) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_a_fail_over_cannot_tell(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    # The other server has the same identity, and may have given the transaction's id to somebody else.
    with server.basebackup(tcp=True, settings={"max_connections": "120"}) as replica:
        replica.start()

        def fail_over() -> None:
            replica.promote()
            proxy.server = replica.port or 0

        with open_door(door, behind(server, proxy)) as db:
            proxy.cut, proxy.at_cut = "reply lost", fail_over
            with pytest.raises(CommitUnknown, match="another server has taken over"):
                db.run(write(1))


def test_a_server_that_stays_away_cannot_tell(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    with open_door(door, behind(server, proxy)) as db:
        proxy.cut, proxy.at_cut = "reply lost", server.halt
        try:
            with pytest.raises(CommitUnknown, match="could not be reached"):
                db.run(write(1), deadline="500ms")
        finally:
            server.start()
    assert admin(server, "SELECT k, try FROM applied") == [(1, 1)]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_id_given_out_again_after_a_crash_is_not_mistaken(
    door: str, server: EmbeddedServer, proxy: CommitProxy, checkpoint: bool
) -> None:
    """The crash takes the transaction along, and another one gets its id and commits."""
    ids: list[int] = []
    taken: set[int] = set()

    def work(session: Session) -> int:
        session.execute(text("INSERT INTO applied VALUES (1, :tries)"), {"tries": len(ids) + 1})
        ids.append(session.scalar(text("SELECT pg_current_xact_id()::text::bigint")) or 0)
        return len(ids)

    def crash() -> None:
        server.kill()
        server.start()
        while max(taken, default=0) < ids[0]:
            taken.add(admin(server, "INSERT INTO applied VALUES (0, 0) RETURNING pg_current_xact_id()::text::bigint")[0][0])
        if checkpoint:
            admin(server, "CHECKPOINT")

    def outcome() -> int | str:
        with open_door(door, behind(server, proxy)) as db:
            db.run(write(0))
            proxy.cut, proxy.at_cut = "request lost", crash
            try:
                return db.run(work)
            except CommitUnknown as error:
                return str(error)

    # Where the id happened to reach the disk before the crash it is not given out again.
    for _ in range(5):
        admin(server, "TRUNCATE applied")
        ids.clear()
        taken.clear()
        found = outcome()
        if ids[0] in taken:
            break
    assert ids[0] in taken
    assert "given out again" in found if isinstance(found, str) else found == 2
    assert isinstance(found, str) is checkpoint
    assert admin(server, "SELECT try FROM applied WHERE k = 1") == ([] if checkpoint else [(2,)])


def test_a_role_without_rights_can_ask(door: str, server: EmbeddedServer, proxy: CommitProxy) -> None:
    admin(server, "DROP ROLE IF EXISTS plain")
    admin(server, "CREATE ROLE plain LOGIN PASSWORD 'plain'")
    admin(server, "GRANT ALL ON applied TO plain")
    try:
        with open_door(door, behind(server, proxy).set(username="plain", password="plain")) as db:
            cut_many(db, proxy, server, 6)
            proxy.cut, proxy.late = "late", 5.0
            assert db.run(write(7)) == 2
            proxy.cut, proxy.at_cut = "reply lost", lambda: server.restart("immediate")
            assert db.run(write(8)) == 1
    finally:
        admin(server, "REVOKE ALL ON applied FROM plain")
        admin(server, "DROP ROLE plain")
