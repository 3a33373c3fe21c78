"""Many values at once: one read for what is missing, each value kept and spoiled on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import Database, MemoryCache
from dal.cache import copies, dictionaries, shapes
from dal.cache.many import fetch_many
from tests.cache.models import Author


class Shelves:
    """Reads authors by id, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def load(self, session: Session, missing: Sequence[Any]) -> Mapping[Any, Any]:
        self.asked.append(list(missing))
        found = {author.id: author for author in session.scalars(select(Author).where(Author.id.in_(missing)))}
        return {key: found.get(key) for key in missing}


def test_what_is_missing_is_read_in_one_go(url: URL) -> None:
    shelves = Shelves()
    with Database(url, cache=MemoryCache()) as db:
        first, second = fetch_many(db.cache, [1, 2], shelves.load)
        assert (first.id, second.id) == (1, 2)
        third, again, nobody = fetch_many(db.cache, [3, 1, 9999], shelves.load)
        assert (third.id, again.id, nobody) == (3, 1, None)
        assert fetch_many(db.cache, [9999, 3, 2], shelves.load)[0] is None
        assert shelves.asked == [[1, 2], [3, 9999]]
        assert db.cache.stats().entries == 4


@pytest.mark.parametrize("form", [copies, shapes, dictionaries])
def test_every_form(url: URL, form: Any) -> None:
    shelves = Shelves()
    with Database(url, cache=MemoryCache()) as db:
        for _ in range(2):
            (author,) = fetch_many(db.cache, [1], shelves.load, form=form)
            assert (author["id"] if form is dictionaries else author.id) == 1
        assert shelves.asked == [[1]]


def test_a_write_spoils_them(url: URL) -> None:
    shelves = Shelves()
    with Database(url, cache=MemoryCache()) as db:
        fetch_many(db.cache, [1, 2], shelves.load)
        db.run(lambda session: session.execute(text("UPDATE authors SET name = 'new' WHERE id = 1")))
        first, _ = fetch_many(db.cache, [1, 2], shelves.load)
        assert first.name == "new"
        assert shelves.asked == [[1, 2], [1, 2]]


def test_what_a_write_overtakes_is_given_and_not_kept(url: URL) -> None:
    shelves = Shelves()
    with Database(url, cache=MemoryCache()) as db:

        def load(session: Session, missing: Sequence[Any]) -> Mapping[Any, Any]:
            found = shelves.load(session, missing)
            if len(shelves.asked) == 1:
                db.run(lambda other: other.execute(text("UPDATE authors SET name = 'new' WHERE id = 1")))
            return found

        assert fetch_many(db.cache, [1], load)[0].name != "new"
        assert fetch_many(db.cache, [1], load)[0].name == "new"
        assert len(shelves.asked) == 2


def test_a_value_made_of_them_is_spoiled_with_them(url: URL) -> None:
    shelves = Shelves()
    with Database(url, cache=MemoryCache()) as db:

        def names(_: Session) -> list[str]:
            return [author.name for author in fetch_many(db.cache, [1, 2], shelves.load)]

        fetch_many(db.cache, [1, 2], shelves.load)
        db.cache.fetch("names", names)
        db.run(lambda session: session.execute(text("UPDATE authors SET name = 'new' WHERE id = 1")))
        assert db.cache.fetch("names", names)[0] == "new"
