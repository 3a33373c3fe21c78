"""What a pager gives is what is committed, whatever is written, and whatever else is kept."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, joinedload, selectinload

from dal import Database, PoolConfig, eager, predictive, sequential
from tests.prefetch.doors import Town, open_town
from tests.prefetch.town import BY_AGE, PEOPLE, Home, Person, ids, oracle


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
