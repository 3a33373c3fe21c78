"""The pager through both doors: cache, database, and the next page already there; never stale, complete, bounded."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, joinedload, selectinload

from dal import CursorConfig, Database, NotLoaded, PoolConfig, eager, predictive, sequential, spatial, using_client
from dal.cache import dictionaries, shapes
from dal.errors import CursorError, UsageError
from dal.prefetch import ahead
from tests.prefetch.doors import Town, open_town
from tests.prefetch.town import PEOPLE, Base, Home, Person, Place, fill

BY_AGE = select(Person).order_by(Person.age.desc())


def ids(page: Any) -> list[int]:
    return [person.id for person in page.items]


def oracle() -> list[int]:
    return sorted(range(1, PEOPLE + 1), key=lambda number: (number % 7, number), reverse=True)


def test_the_third_page_is_there_before_it_is_asked_for(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, policy=eager(Person.home), prefetch=sequential())
    seen, cursor, statements = [], None, []
    while True:
        with town.counted() as sent:
            page = town.page(pager, after=cursor, client="ann")
        statements.append(sent.count)
        seen += ids(page)
        cursor = page.next
        if cursor is None:
            break
    assert seen == oracle()
    assert statements == [1, 1, 0, 0, 0, 0, 0]
    stats = town.stats
    assert (stats.demands, stats.hits, stats.sent, stats.used, stats.wasted) == (7, 5, 5, 5, 0)
    assert stats.precision == 1.0
    assert stats.strategies["sequential"].used == 5
    assert town.db.cache.stats().primed == 5


def test_backwards_too(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    pages = [town.page(pager, client="ann")]
    while pages[-1].next is not None:
        pages.append(town.page(pager, after=pages[-1].next, client="ann"))
    page, statements = pages[-1], []
    while page.previous is not None:
        with town.counted() as sent:
            page = town.page(pager, before=page.previous, client="ann")
        statements.append(sent.count)
    assert ids(page) == ids(pages[0])
    assert statements[0] == 1
    assert set(statements[1:]) == {0}


def test_the_first_page_brings_the_second_where_people_go_on(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    for visitor in range(10):
        first = town.page(pager, client=visitor)
        town.page(pager, after=first.next, client=visitor)
    town.db.cache.clear()
    first = town.page(pager, client="new")
    with town.counted() as sent:
        town.page(pager, after=first.next, client="new")
    assert (sent.count, len(sent.ahead)) == (0, 1), "the third, ahead"
    assert "10 of 11 visitors went on from the first page" in town.why(-2)


def test_a_page_is_kept_with_all_its_policy_loaded_and_says_what_it_did_not(town: Town) -> None:
    pager = town.pager(BY_AGE, size=10, policy=eager(Person.home), prefetch=sequential())
    for _ in range(2):
        with town.counted() as sent:
            person = town.page(pager, client="ann").items[0]
            assert person.home.street.startswith("street")
            with pytest.raises(NotLoaded, match=r"Person\.friend") as refused:
                person.friend
            assert "eager(Person.friend)" in refused.value.hint
    assert sent.count == 0


def test_items_belong_to_the_caller(town: Town) -> None:
    pager = town.pager(BY_AGE, size=10)
    town.page(pager).items[0].name = "changed"
    assert town.page(pager).items[0].name != "changed"


@pytest.mark.parametrize("form", [shapes, dictionaries])
def test_other_forms(town: Town, form: Any) -> None:
    pager = town.pager(BY_AGE, size=10, policy=eager(Person.home), form=form, prefetch=predictive())
    for _ in range(2):
        page = town.page(pager, client="ann")
        first = page.items[0]
        assert isinstance(page.items, list)
        assert (first["id"] if form is dictionaries else first.id) == oracle()[0]
        assert (first["home"]["street"] if form is dictionaries else first.home.street).startswith("street")
    assert page.next is not None
    assert len(page.edges) == 10


def test_rows_and_columns(town: Town) -> None:
    pager = town.pager(select(Person.id, Person.name), order_by=Person.name.desc(), size=10, prefetch=sequential())
    for _ in range(2):
        page = town.page(pager, client="ann")
        assert tuple(page.items[0]) == (200, "name 200")
        assert page.items[0].name == "name 200"


def test_a_write_spoils_what_was_loaded_ahead(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    page = town.page(pager, client="ann")
    page = town.page(pager, after=page.next, client="ann")
    victim = oracle()[65]
    town.write(lambda session: session.execute(update(Person).where(Person.id == victim).values(name="new")))
    third = town.page(pager, after=page.next, client="ann")
    assert next(person.name for person in third.items if person.id == victim) == "new"
    assert town.stats.wasted == 1
    assert "sequential after the page after" in town.why(1)
    assert ": wasted;" in town.why(1)


def test_a_write_that_overtakes_a_prefetch_drops_it(town: Town, town_url: URL) -> None:
    """The write commits after the prefetch has read its rows and before it keeps them."""
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    victim = oracle()[65]
    written: list[bool] = []
    engine = getattr(town.db.engine, "sync_engine", town.db.engine)

    with Database(town_url, pool=PoolConfig(min_pool_size=1, max_pool_size=2)) as other:
        town.db.cache.watch(other.engine)

        def overtake(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
            if "people" in statement and not written and "SELECT" in statement and town.stats.sent:
                written.append(True)
                other.run(lambda session: session.execute(update(Person).where(Person.id == victim).values(name="new")))

        page = town.page(pager, client="ann")
        event.listen(engine, "after_cursor_execute", overtake)
        page = town.page(pager, after=page.next, client="ann")
        event.remove(engine, "after_cursor_execute", overtake)
    assert written
    assert ": dropped;" in town.why()
    assert town.stats.wasted == 1
    third = town.page(pager, after=page.next, client="ann")
    assert next(person.name for person in third.items if person.id == victim) == "new"


def test_any_walk_with_writes_in_between_shows_what_is_committed(town: Town) -> None:
    chance = random.Random(7)
    pager = town.pager(BY_AGE, size=20, policy=eager(Person.home), prefetch=[sequential(), predictive()])
    pages: dict[str, Any] = {}
    for step in range(120):
        visitor = chance.choice("abc")
        page = pages.get(visitor)
        move = chance.random()
        asked = {}
        if page is not None and move < 0.6 and page.next:
            asked = {"after": page.next}
        elif page is not None and move < 0.75 and page.previous:
            asked = {"before": page.previous}
        if chance.random() < 0.3:
            victim, name = chance.randrange(1, PEOPLE + 1), f"step {step}"
            street = chance.randrange(1, 21)

            def work(session: Session, victim: int = victim, name: str = name, street: int = street) -> None:
                session.get_one(Person, victim).name = name
                session.get_one(Home, street).street = name

            town.write(work)
        pages[visitor] = page = town.page(pager, client=visitor, settle=chance.random() < 0.8, **asked)
        if step % 40 == 39:
            town.db.cache.clear()
        true = _read(town, ids(page))
        assert [(each.id, each.name, each.home.street) for each in page.items] == true, step


def _read(town: Town, wanted: list[int]) -> list[tuple[int, str, str]]:
    found: list[Any] = []
    query = select(Person.id, Person.name, Home.street).join(Person.home).where(Person.id.in_(wanted))
    town.write(lambda session: found.extend(session.execute(query).all()))
    by_id = {row.id: tuple(row) for row in found}
    return [by_id[each] for each in wanted]


def test_who_asks_is_said_by_a_block(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    with using_client("ann"):
        page = town.page(pager)
    with using_client("bob"):
        town.page(pager, after=page.next)
    assert town.stats.sent == 0, "two visitors, one page each"
    with using_client("ann"):
        town.page(pager, after=page.next)
    assert town.stats.sent == 1


def test_pagers_made_for_each_request_share_pages_and_walks(town: Town) -> None:
    def ask(**options: Any) -> Any:
        return town.page(town.pager(BY_AGE, size=30, policy=eager(Person.home), prefetch=sequential()), **options)

    page = ask(client="ann")
    page = ask(after=page.next, client="ann")
    with town.counted() as sent:
        ask(client="bob")
        ask(after=page.next, client="ann")
    assert (sent.count, len(sent.ahead)) == (0, 1), "the fourth, ahead"


def test_what_differs_in_what_it_loads_is_kept_apart(town: Town) -> None:
    grown = selectinload(Home.people.and_(Person.age > 3))
    young = selectinload(Home.people.and_(Person.age <= 3))
    by = select(Home)
    variants: list[tuple[Any, dict[str, Any]]] = [
        (by, {}),
        (by, {"policy": eager(Home.people)}),
        (by, {"policy": eager(Home.people, (Home.people, Person.friend))}),
        (by.options(grown), {}),
        (by.options(young), {}),
        (by.options(joinedload(Home.people)), {}),
    ]
    told = []
    for _ in range(2):
        for statement, options in variants:
            home = town.page(town.pager(statement, size=5, **options)).items[0]
            people = home.__dict__.get("people")
            friend = "friend" in people[0].__dict__ if people else None
            told.append(None if people is None else (len(people), friend))
    assert told[:6] == told[6:]
    assert told[0] is None
    assert told[1] == (10, False)
    assert told[2] == (10, True)
    assert told[3] is not None
    assert told[4] is not None
    assert told[3][0] + told[4][0] == 10
    assert told[3] != told[4]
    assert told[5] == (10, False)


def test_parameters_make_lists_of_their_own(town: Town) -> None:
    pager = town.pager(select(Person).where(Person.home_id == bindparam("home")), size=4, prefetch=sequential())
    first = {home: town.page(pager, values={"home": home}, client="ann") for home in (1, 2)}
    assert {person.home_id for person in first[1].items} == {1}
    assert {person.home_id for person in first[2].items} == {2}
    with pytest.raises(CursorError):
        town.page(pager, values={"home": 2}, after=first[1].next)
    page = town.page(pager, values={"home": 1}, after=first[1].next, client="ann")
    with town.counted() as sent:
        page = town.page(pager, values={"home": 1}, after=page.next, client="ann")
    assert sent.count == 0
    assert {person.home_id for person in page.items} == {1}
    assert "with home=1" in town.why(-2)


def test_totals_are_kept_too(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, total="exact")
    with town.counted() as sent:
        page = town.page(pager)
        assert (page.total.value, page.total.exact) == (PEOPLE, True)
        assert sent.count == 2
        assert town.page(pager).total.value == PEOPLE
        assert sent.count == 2
        page = town.page(pager, after=page.next)
        assert sent.count == 3
    town.write(lambda session: session.execute(text("DELETE FROM people WHERE id = 200")))
    assert town.page(pager).total.value == PEOPLE - 1


def test_habits_lead_from_a_list_to_an_object(town: Town) -> None:
    people = town.pager(select(Person).where(Person.home_id == bindparam("home")), size=4, prefetch=predictive())
    homes = town.pager(select(Home), policy=eager(Home.people), prefetch=predictive())
    for home in range(1, 6):
        town.page(people, values={"home": home}, client="ann")
        town.get(homes, home, client="ann")
    town.page(people, values={"home": 15}, client="ann")
    assert "id from the parameter 'home'" in town.why(-1) or "id from the column 'home_id'" in town.why(-1)
    with town.counted() as sent:
        home = town.get(homes, 15, client="ann")
        assert len(home.people) == 10
    assert sent.count == 0
    assert town.stats.strategies["predictive"].used >= 1


def test_neighbouring_keys_come_in_one_statement(town: Town) -> None:
    pager = town.pager(select(Person), policy=eager(Person.home), prefetch=spatial(near=2))
    with town.counted() as sent:
        assert town.get(pager, 50, client="ann").home.street == "street 11"
    assert (sent.count, len(sent.ahead)) == (1, 1)
    assert "IN" in sent.ahead[0]
    with town.counted() as sent:
        for key in (51, 49, 48, 52):
            assert town.get(pager, key, client="ann").id == key
    assert sent.count == 0
    assert town.get(pager, 5000, client="ann") is None
    with town.counted() as sent:
        assert town.do(pager.get, 5000, client="ann") is None
    assert sent.count == 0, "that there is none is kept as well"
    town.write(lambda session: session.add(Person(id=5000, name="late", age=1, home_id=1)))
    assert town.get(pager, 5000, client="ann").name == "late"


def test_the_page_before_comes_after_a_step_backwards(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=spatial())
    page = town.page(pager, client="ann")
    for _ in range(3):
        page = town.page(pager, after=page.next, client="ann")
    assert town.stats.sent == 0
    page = town.page(pager, before=page.previous, client="ann")
    assert town.stats.sent == 1
    with town.counted() as sent:
        town.page(pager, before=page.previous, client="ann")
    assert sent.count == 0


def test_a_map_that_is_moved_has_its_neighbours_already(town: Town) -> None:
    pager = town.pager(select(Place), prefetch=spatial(Place.lat, Place.lon))
    with town.counted() as sent:
        found = town.area(pager, (2.0, 4.0), (2.0, 4.0), client="ann")
    assert {(place.lat, place.lon) for place in found} == {(x + 0.5, y + 0.5) for x in (2, 3) for y in (2, 3)}
    assert (sent.count, len(sent.ahead)) == (1, 1), "the view, and the ring around it"
    with town.counted() as sent:
        moved = town.area(pager, (2.25, 4.25), (1.75, 3.75), client="ann")
    assert sent.count == 0
    assert {(place.lat, place.lon) for place in moved} == {(x + 0.5, y + 0.5) for x in (2, 3) for y in (2, 3)}
    town.write(lambda session: session.add(Place(id=500, name="new", lat=2.6, lon=2.6)))
    assert len(town.area(pager, (2.25, 4.25), (1.75, 3.75), client="ann")) == 5
    stats = town.stats.strategies["spatial"]
    assert stats.used == 1


def test_the_map_shows_what_an_unkept_query_shows(town: Town) -> None:
    chance = random.Random(3)
    pager = town.pager(select(Place.name, Place.lat), prefetch=spatial(Place.lat, Place.lon))
    for _ in range(25):
        x, y = chance.uniform(-1, 9), chance.uniform(-1, 9)
        wide, high = chance.uniform(0.1, 6), chance.uniform(0.1, 6)
        found = town.area(pager, (x, x + wide), (y, y + high), client="ann")
        true = {
            f"place {each_x} {each_y}"
            for each_x in range(10)
            for each_y in range(10)
            if x <= each_x + 0.5 <= x + wide and y <= each_y + 0.5 <= y + high
        }
        assert {row.name for row in found} == true
        assert len(found) == len(true)


def test_more_than_a_map_can_show_is_refused(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dal.prefetch.areas.MOST", 50)
    pager = town.pager(select(Place), prefetch=spatial(Place.lat, Place.lon))
    with pytest.raises(UsageError, match="more than 50 rows of Place"):
        town.area(pager, (0, 10), (0, 10))


def test_a_busy_pool_is_left_alone(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    page = town.page(pager, client="ann")
    held = [town.do(_checkout, town) for _ in range(2)]
    town.page(pager, after=page.next, client="ann")
    assert "fewer than two connections of the pool lie idle" in town.why()
    assert town.stats.sent == 0
    for connection in held:
        town.do(connection.close)


async def _checkout_async(town: Town) -> Any:
    return await town.db.engine.connect()


def _checkout(town: Town) -> Any:
    return town.db.engine.connect() if town._runner is None else _checkout_async(town)


def test_a_prefetch_can_change_nothing(town: Town) -> None:
    town.write(
        lambda session: session.execute(
            text(
                "CREATE FUNCTION touch(which int) RETURNS int LANGUAGE plpgsql AS "
                "'BEGIN UPDATE places SET name = name || which WHERE id = 1; RETURN which; END'"
            )
        )
    )
    pager = town.pager(select(Person.id, func.touch(Person.id)).where(Person.id < 9), size=3, prefetch=sequential())
    page = town.page(pager, client="ann")
    town.page(pager, after=page.next, client="ann")
    assert ": failed;" in town.why()
    assert town.stats.wasted == 1


def test_a_slow_prefetch_is_stopped_by_the_server(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "TIMEOUT", 0.1)
    slow = select(Person.id, func.pg_sleep(Person.id * 0.02).cast(text_type())).where(Person.id < 10)
    pager = town.pager(slow, order_by=Person.id, size=3, prefetch=sequential())
    page = town.page(pager, client="ann")
    started = time.monotonic()
    page = town.page(pager, after=page.next, client="ann")
    assert ": failed;" in town.why(), "it would take 0.48 s"
    assert time.monotonic() - started < 20
    assert [row.id for row in town.page(pager, after=page.next, client="ann").items] == [7, 8, 9], "a demand may take its time"


def text_type() -> Any:
    from sqlalchemy import String

    return String


def test_closing_waits_for_nothing_that_hangs(opened: Callable[..., Town], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "TIMEOUT", 60.0)
    monkeypatch.setattr("dal.prefetch.prefetcher._CLOSING", 0.2)
    town = opened()
    town.__enter__()
    slow = select(Person.id, func.pg_sleep(Person.id).cast(text_type())).where(Person.id.in_([-3, -2, -1, 30]))
    town.write(lambda session: session.add_all(Person(id=number, name="n", age=1, home_id=1) for number in (-1, -2, -3)))
    pager = town.pager(slow, order_by=Person.id, size=1, prefetch=sequential())
    page = town.page(pager, client="ann")
    town.page(pager, after=page.next, client="ann", settle=False)
    assert town.stats.waiting == 1
    started = time.monotonic()
    town.__exit__(None, None, None)
    assert time.monotonic() - started < 25


def test_nothing_runs_before_the_first_prefetch_and_nothing_is_left(opened: Callable[..., Town]) -> None:
    with opened() as town:
        pager = town.pager(BY_AGE, size=30, prefetch=sequential())
        town.page(pager, client="ann")
        assert not _threads()
    deadline = time.monotonic() + 10
    while _threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dal-prefetch")]


def test_a_cache_opened_amid_writes_is_not_fooled_by_them(town_url: URL) -> None:
    with open_town("sync", town_url) as town:
        session = town.db.session()
        session.execute(update(Person).where(Person.id == 1).values(name="new"))
        session.flush()
        pager = town.pager(select(Person).where(Person.id == 1))
        assert town.page(pager).items[0].name == "name 001"
        session.commit()
        session.close()
        assert town.page(pager).items[0].name == "new"


@pytest.fixture
def strict_cursors() -> CursorConfig:
    return CursorConfig(keys=["a secret of 16 bytes or more"])


def test_a_foreign_cursor_is_refused_before_anything_is_sent(opened: Callable[..., Town], strict_cursors: CursorConfig) -> None:
    with opened(cursors=strict_cursors) as town:
        people, homes = town.pager(BY_AGE, size=30), town.pager(select(Home), size=3)
        cursor = town.page(homes).next
        with town.counted() as sent:
            for bad in (cursor, "rubbish", cursor[:-3] + "AAA"):
                with pytest.raises(CursorError):
                    town.page(people, after=bad)
            with pytest.raises(UsageError, match="after and before"):
                town.page(people, after="a", before="b")
            mine = town.page(people, owner="ann").next
            with pytest.raises(CursorError):
                town.page(people, owner="bob", after=mine)
            town.page(people, owner="ann", after=mine)
        assert sent.count == 2


@pytest.mark.parametrize(
    ("statement", "options", "told"),
    [
        (select(Person), {"size": 0}, "size is 0"),
        (select(Person), {"size": True}, "size is True"),
        (select(Person), {"prefetch": sequential}, r"no strategy\n  hint: write sequential\(\)"),
        (select(Person), {"prefetch": "sequential"}, "no strategy"),
        (select(Person).with_for_update(), {}, "FOR UPDATE"),
        (select(Person).where(Person.age > func.random()), {}, r"random\(\)"),
        (select(Person, func.now()), {}, r"now\(\)"),
        (text("SELECT 1"), {}, "cannot be paged"),
        (select(Person), {"total": "many"}, "no total"),
    ],
)
def test_what_cannot_be_paged_is_refused_at_once(town: Town, statement: Any, options: Any, told: str) -> None:
    with town.counted() as sent, pytest.raises(UsageError, match=told):
        town.pager(statement, **options)
    assert sent.count == 0


def test_bad_calls_are_refused_before_anything_is_sent(town: Town) -> None:
    wanted = town.pager(select(Person).where(Person.home_id == bindparam("home")), prefetch=spatial())
    people = town.pager(select(Person))
    names = town.pager(select(Person.name))
    mapped = town.pager(select(Place), prefetch=spatial(Place.lat, Place.lon))
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
        (wanted.page, (), {}, 'values={"home": ...}'),
        (wanted.page, (), {"values": {"house": 1}}, 'values={"home": ...}'),
        (wanted.page, (), {"values": {"home": [1]}}, "home is a list"),
        (wanted.page, (), {"values": {"home": object()}}, "home is a object"),
        (people.page, (), {"values": {"home": 1}}, "leave values out"),
        (people.page, (), {"client": []}, "cannot tell visitors apart"),
        (people.get, ((1, 2),), {}, "made of id"),
        (names.get, (1,), {}, "one object by its key"),
        (people.area, ((1, 2), (1, 2)), {}, "two columns of the map"),
        (mapped.area, ((2, 1), (1, 2)), {}, "no range"),
        (mapped.area, ((1, float("nan")), (1, 2)), {}, "no range"),
        (mapped.area, (1, (1, 2)), {}, "no range"),
    ]
    with town.counted() as sent:
        for call, args, options, told in calls:
            with pytest.raises(UsageError) as refused:
                town.do(call, *args, **options)
            assert told in str(refused.value)
    assert sent.count == 0


def test_a_closed_database_gives_no_pager(opened: Callable[..., Town]) -> None:
    with opened() as town:
        pass
    with pytest.raises(UsageError, match="closed"):
        town.db.pager(select(Person))
    with pytest.raises(UsageError, match="closed"):
        town.db.prefetch


@pytest.fixture
def file_db(tmp_path: Any) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'town.db'}", pool=PoolConfig(min_pool_size=3, max_pool_size=5)) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        yield db


def test_sqlite_in_a_file(file_db: Database) -> None:
    pager = file_db.pager(select(Person), size=30, prefetch=sequential())
    held = [file_db.engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()
    page = pager.page(client="ann")
    page = pager.page(after=page.next, client="ann")
    assert file_db.prefetch.wait(20)
    assert file_db.prefetch.stats().sent == 1, file_db.prefetch.explain()
    assert [person.id for person in pager.page(after=page.next, client="ann").items] == list(range(61, 91))
    assert file_db.prefetch.stats().used == 1


def test_sqlite_in_memory_says_why_it_does_not_prefetch() -> None:
    with Database("sqlite://") as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        pager = db.pager(select(Person), size=30, prefetch=sequential())
        page = pager.page(client="ann")
        pager.page(after=page.next, client="ann")
        assert "does not tell what lies idle" in str(db.prefetch.explain()[-1])
