"""What lies near: from a list to an object, neighbouring keys, the page before, areas of a map."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import bindparam, select

from dal import eager, predictive, spatial
from dal.errors import UsageError
from tests.prefetch.doors import Town
from tests.prefetch.town import BY_AGE, Home, Person, Place


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
