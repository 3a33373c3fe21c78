"""The pager through both doors: out of the cache, else out of the database, with the next page already there."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, select, text

from dal import NotLoaded, eager, predictive, sequential, using_client
from dal.cache import dictionaries, shapes
from dal.errors import CursorError
from tests.prefetch.doors import Town
from tests.prefetch.town import BY_AGE, PEOPLE, Person, ids, oracle


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
