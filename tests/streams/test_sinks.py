"""Flows and where they end: operators, batches, tables, files, Redis, webhooks, a page; through both doors."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.engine import URL

from dal import (
    AsyncBulkWriter,
    AsyncDatabase,
    BulkWriter,
    Change,
    Dashboard,
    Database,
    Invalidations,
    JsonLines,
    RedisStream,
    ReplicationError,
    Threshold,
    UsageError,
    Webhook,
    count_of,
)
from dal.streams.marks import TABLE, make_table
from dal.streams.sinks import Setting
from dal.streams.sinks.jsoned import json_text
from tests.streams.conftest import POOL, until
from tests.streams.models import Copy, Dog, Order, Revenue


def add(db: Database, *numbers: int, shop: str = "a") -> None:
    """Commit orders, all in one transaction."""
    with db.transaction() as session:
        session.add_all([Order(id=number, shop=shop, total=number) for number in numbers])


def copies(db: Database) -> list[tuple[Any, ...]]:
    with db.session() as session:
        return [tuple(row) for row in session.execute(select(Copy.id, Copy.shop, Copy.total, Copy.paid).order_by(Copy.id))]


def orders(db: Database) -> list[tuple[Any, ...]]:
    with db.session() as session:
        return [tuple(row) for row in session.execute(select(Order.id, Order.shop, Order.total, Order.paid).order_by(Order.id))]


def test_many_make_the_table_of_positions_at_once(db: Database) -> None:
    for _ in range(20):
        together = threading.Barrier(4)

        def make(_number: int, together: threading.Barrier = together) -> None:
            with db.transaction() as session:
                connection = session.connection()
                together.wait()
                make_table(connection)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(make, range(4)))
        with db.transaction() as session:
            session.execute(text(f"DROP TABLE {TABLE}"))


def test_a_copy_of_a_table_follows_everything(db: Database) -> None:
    flow = db.changes(Order, name="copy").to(BulkWriter(db, Copy))
    add(db, *range(1, 60))
    with db.transaction() as session:
        session.execute(update(Order).where(Order.id > 30).values(total=Order.total * 2, paid=True))
        session.execute(delete(Order).where(Order.id < 10))
        session.add(Order(id=3, shop="again", total=0))
        session.execute(update(Order).where(Order.id == 20).values(id=1020))
        session.execute(update(Order).where(Order.id == 21).values(id=20))
    until(lambda: copies(db) == orders(db))
    with db.transaction() as session:
        session.execute(text("TRUNCATE orders"))
        session.add(Order(id=7, shop="b", total=7))
    until(lambda: copies(db) == [(7, "b", 7, False)])
    assert flow.stop()
    add(db, 8)
    assert copies(db) == [(7, "b", 7, False)]
    with db.changes(Order, name="copy").to(BulkWriter(db, Copy)):
        until(lambda: copies(db) == orders(db))
    with db.transaction() as session:
        session.execute(delete(Order))
    db.changes(Order, name="copy").drop()
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM dal_stream_positions")) == 0


def test_a_position_of_another_server_or_another_consumer_is_not_taken(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    changes = db.changes(Order, name="fenced")
    flow = changes.to(BulkWriter(db, Copy))
    add(db, 1)
    until(lambda: len(copies(db)) == 1)
    with db.transaction() as session:  # somebody else went on with the stream
        session.execute(text("UPDATE dal_stream_positions SET position = 'F/0'"))
    add(db, 2)
    with pytest.raises(ReplicationError, match="another consumer has gone on"):
        flow.wait(20)
    assert len(copies(db)) == 1
    with db.transaction() as session:
        session.execute(text("UPDATE dal_stream_positions SET server = 'elsewhere'"))
    with pytest.raises(ReplicationError, match="another server or database"):
        changes.to(BulkWriter(db, Copy))
    changes.drop()
    assert "another consumer" in caplog.text


def test_a_row_that_the_table_refuses_ends_the_flow(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    changes = db.changes(Order, name="refused")
    flow = changes.map(lambda change: {"id": change.key, "shop": None, "total": 1, "paid": True}).to(BulkWriter(db, Copy))
    add(db, 1)
    with pytest.raises(Exception, match="shop"):
        flow.wait(20)
    assert flow.stats().state == "failed"
    changes.drop()
    missing = changes.map(lambda change: {"shop": "x"}).to(BulkWriter(db, Copy))
    add(db, 2)
    with pytest.raises(UsageError, match="no 'id', which is part of the key"):
        missing.wait(20)
    changes.drop()
    with db.session() as session, pytest.raises(UsageError, match="transactions of its own"):
        changes.to(BulkWriter(session, Copy))


@dataclass(slots=True)
class Sale:
    order: int
    shop: str


def test_operators(db: Database) -> None:
    with db.transaction() as session:
        session.add_all([Dog(id=1, name="rex"), Dog(id=2, name="bo")])
    asked: list[list[Any]] = []

    def look_up(keys: Sequence[Any]) -> dict[Any, str]:
        asked.append(list(keys))
        return {key: f"shop {key}" for key in keys if key != "z"}

    found: list[Any] = []
    flow = (
        db.changes(Order, name="operators")
        .filter(lambda change: change.kind == "insert")
        .map(lambda change: Sale(change.key, change.new["shop"]))  # type: ignore[index]
        .flat_map(lambda sale: [sale] * (sale.order % 3))
        .enrich(look_up, by="shop", into=lambda sale, name: (sale.order, name), size=2)
        .enrich(Dog, by=lambda pair: pair[0], into=lambda pair, dog: (*pair, dog and dog.name))
        .to(found.extend)
    )
    with db.transaction() as session:
        session.add_all([Order(id=number, shop=shop, total=1) for number, shop in enumerate("abczab", start=1)])
    until(lambda: len(found) == 6)
    assert found == [
        (1, "shop a", "rex"), (2, "shop b", "bo"), (2, "shop b", "bo"), (4, None, None), (5, "shop a", None),
        (5, "shop a", None),
    ]  # fmt: skip
    assert asked == [["a", "b"], ["z"]]
    assert flow.stats().read == 6
    assert flow.stats().written == 6
    assert flow.stop()
    db.changes(Order, name="operators").drop()


def test_batches_by_size_and_time(db: Database) -> None:
    sizes: list[int] = []
    flow = db.changes(Order, name="batches").batch(size=4, seconds=0.3).to(lambda items: sizes.append(len(items)))
    add(db, *range(1, 11))
    until(lambda: sum(sizes) == 10)
    assert sizes == [4, 4, 2]
    for number in (11, 12, 13):
        add(db, number)
    until(lambda: sum(sizes) == 13)
    assert sizes[3:] == [3], "they came within the time"
    assert flow.stop()
    db.changes(Order, name="batches").drop()


def test_a_transaction_larger_than_what_is_held(db: Database) -> None:
    sizes: list[int] = []
    counting = db.changes(Order, name="counting").to(lambda items: sizes.append(len(items)))
    flow = db.changes(Order, name="large").to(BulkWriter(db, Copy))
    with db.transaction() as session:
        session.execute(text("INSERT INTO orders SELECT i, 'a', i, false FROM generate_series(1, 20000) i"))
    until(lambda: flow.stats().written == sum(sizes) == 20_000)
    assert max(sizes) == 5_000
    assert copies(db) == orders(db)
    assert flow.stop()
    assert counting.stop()
    for name in ("counting", "large"):
        db.changes(Order, name=name).drop()


def test_a_sink_that_is_away_for_a_while(db: Database) -> None:
    got: list[int] = []
    failures = [ConnectionError("away"), TimeoutError("away"), ConnectionError("away")]

    def take(items: list[Change]) -> None:
        if items and failures:
            raise failures.pop()
        got.extend(change.key for change in items)

    flow = db.changes(Order, name="away").to(take)
    add(db, 1)
    add(db, 2)
    until(lambda: got == [1, 2])
    assert flow.stats().again == 3
    assert flow.stop()
    db.changes(Order, name="away").drop()


def test_what_a_cache_needs(db: Database) -> None:
    told: list[tuple[frozenset[str], int]] = []
    flow = db.changes(Order, Dog, name="cache", kinds=["insert", "update", "truncate"]).to(
        Invalidations(lambda tables, xid: told.append((tables, xid)))
    )
    with db.transaction() as session:
        session.add_all([Order(id=1, shop="a", total=1), Dog(id=1, name="rex")])
        session.flush()
        xid = session.scalar(text("SELECT pg_current_xact_id()::text::bigint"))
    add(db, 2)
    until(lambda: len(told) == 2)
    assert told[0] == (frozenset({"orders", "animals"}), xid)
    assert told[1][0] == {"orders"}
    assert flow.stop()
    db.changes(Order, name="cache").drop()


def setting() -> Setting:
    nothing: Any = None
    return Setting("test", "", nothing, lambda result: result, lambda: nothing)


def test_json_lines(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_text('{"whole": 1}\n{"half')
    flow = db.changes(Order, name="lines").to(JsonLines(path))
    add(db, 1, 2)
    until(lambda: path.read_text().count("\n") == 3)
    assert flow.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"whole": 1}
    assert [(line["kind"], line["table"], line["key"]) for line in lines[1:]] == [
        ("insert", "orders", 1),
        ("insert", "orders", 2),
    ]
    assert lines[1]["new"] == {"id": 1, "shop": "a", "total": 1, "paid": False}
    db.changes(Order, name="lines").drop()
    with pytest.raises(UsageError, match="no folder"):
        JsonLines(tmp_path / "nowhere" / "x.jsonl")


@pytest.mark.parametrize("content", ["", "x" * 200_000, "a\n", "a\n" + "x" * 200_000, "a\n" + "b" * 100_000 + "\nhalf"])
def test_half_a_line_is_cut_off(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lines"
    path.write_text(content)
    sink = JsonLines(path)
    sink.open(setting())
    sink.write([1])
    sink.commit()
    sink.close()
    assert path.read_text() == content[: content.rfind("\n") + 1] + "1\n"


def test_items_as_json() -> None:
    item = {"sale": Sale(1, "a"), "price": Decimal("1.50"), "raw": b"\xff", "all": {1}}
    assert json.loads(json_text(item)) == {"sale": {"order": 1, "shop": "a"}, "price": "1.50", "raw": "ff", "all": [1]}
    assert json.loads(json_text(Dog(id=1, name="rex"))) == {"id": 1, "name": "rex", "kind": "dog"}


def test_a_redis_stream(db: Database, redis_url: str) -> None:
    redis = pytest.importorskip("redis")
    flow = db.changes(Order, name="redis").to(RedisStream(redis_url, "orders"))
    add(db, 1, 2)
    client = redis.Redis.from_url(redis_url)
    until(lambda: client.xlen("orders") == 2)
    assert flow.stop()
    entries = [json.loads(fields[b"data"]) for _, fields in client.xrange("orders")]
    assert [entry["new"]["id"] for entry in entries] == [1, 2]
    assert entries[0]["position"] < entries[1]["position"]
    client.delete("orders")
    client.close()
    db.changes(Order, name="redis").drop()


Receiver = tuple[str, list[Any], list[int]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web server that notes what is posted to it, and first answers with these codes."""
    got: list[Any] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = answers.pop(0) if answers else 200
            if code == 200:
                got.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got, answers
        server.shutdown()
        thread.join()


def test_alerts_to_a_webhook(
    db: Database, receiver: tuple[str, list[Any], list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    url, got, answers = receiver
    answers += [503, 429]
    alerts = db.changes(Order, name="alerts").alert(Threshold(value="total", above=5, clear=3, by="shop", name="large"))
    flow = alerts.to(Webhook(url, headers={"Authorization": "secret"}))
    for number in (1, 7, 8, 4, 2, 9):
        add(db, number)
    until(lambda: len(got) == 3)
    assert [(token, alert["state"], alert["value"], alert["group"]) for token, alert in got] == [
        ("secret", "raised", 7, {"shop": "a"}), ("secret", "cleared", 2, {"shop": "a"}), ("secret", "raised", 9, {"shop": "a"}),
    ]  # fmt: skip
    assert flow.stop()
    answers.append(400)
    flow = alerts.to(Webhook(url))
    add(db, 3)
    with pytest.raises(ReplicationError, match="the webhook refused: 400"):
        flow.wait(20)
    db.changes(Order, name="alerts").drop()
    with pytest.raises(UsageError, match="http"):
        Webhook("ftp://x")
    assert "secret" not in caplog.text


def test_a_dashboard(db: Database) -> None:
    page = Dashboard(title="<orders>")
    flow = db.changes(Order, name="page").map(lambda change: {"order": change.key, "shop": "<b>&"}).to(page)
    assert page.url.startswith("http://127.0.0.1:")
    add(db, 1, 2)
    until(lambda: flow.stats().written == 2)

    def get(path: str, host: str | None = None) -> str:
        request = urllib.request.Request(page.url + path, headers={} if host is None else {"Host": host})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    shown = get("")
    assert "<title>&lt;orders></title>" in shown
    assert "http" not in shown.replace("http-equiv", ""), "nothing from elsewhere"
    data = json.loads(get("data"))
    assert data["items"] == [{"order": 2, "shop": "<b>&"}, {"order": 1, "shop": "<b>&"}]
    assert (data["stats"]["state"], data["stats"]["written"]) == ("running", 2)
    for path, host, code in (("nowhere", None, 404), ("data", "evil.example", 403)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(path, host)
        assert caught.value.code == code
        caught.value.close()
    assert flow.stop()
    with pytest.raises(urllib.error.URLError):
        get("")
    db.changes(Order, name="page").drop()


async def test_the_async_door(url: URL, db: Database, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    got: list[Any] = []

    async def look_up(keys: Sequence[Any]) -> dict[Any, str]:
        await asyncio.sleep(0)
        return {key: f"shop {key}" for key in keys}

    async def take(items: list[Any]) -> None:
        await asyncio.sleep(0)
        got.extend(items)

    async with AsyncDatabase(url, pool=POOL) as door:
        changes = door.changes(Order, name="calls")
        calls = changes.filter(lambda change: change.key != 2).enrich(
            look_up, by="shop", into=lambda change, name: (change.key, name)
        ).to(take)  # fmt: skip
        copying = door.changes(Order, name="copying").to(AsyncBulkWriter(door, Copy))
        lines = door.changes(Order, name="lines").batch(size=10, seconds=0.05).to(JsonLines(path))
        counts: list[int] = []
        windows = door.changes(Order, name="windows").window(seconds=0.2, lateness=0.1, aggregate={"n": count_of()})
        counting = windows.flat_map(lambda row: [row["n"]]).to(counts.extend)
        for flow in (calls, copying, lines, counting):
            await flow.ready()
        assert calls.stats().state == "running"
        await asyncio.to_thread(add, db, 1, 2, 3)
        await asyncio.to_thread(
            until,
            lambda: len(got) == 2 and sum(counts) == 3 and len(copies(db)) == 3 and path.read_text().count("\n") == 3,
        )
        assert got == [(1, "shop a"), (3, "shop a")]
        with pytest.raises(UsageError, match="block the event loop"):
            changes.to(BulkWriter(db, Revenue))
        assert await calls.stop()
        running = asyncio.create_task(counting.run())
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert counting.stats().state == "stopped"
        failing = changes.map(lambda change: change.key / 0).to(take)
        await asyncio.to_thread(add, db, 4)
        with pytest.raises(ZeroDivisionError):
            await failing.wait(20)
        problems = (await door.health()).problems
        assert "the change stream 'calls' has ended" in "".join(problem.what for problem in problems)
        await changes.drop()
    assert {copying.stats().state, lines.stats().state} == {"stopped"}, "the closed database stopped them"
    for name in ("copying", "lines", "windows"):
        db.changes(Order, name=name).drop()
