"""Rare walks see the same with batched loading as without, in fewer statements."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, update
from sqlalchemy.orm import (
    Session,
    defer,
    lazyload,
    raiseload,
)
from sqlalchemy.pool import NullPool

from dal.testing import Server
from tests.loading import edge_walks as walks
from tests.loading.edge import LINKS, METADATA, Author, Link, library, same_as_lazy

Walk = Callable[[Session, list[Any]], Any]


@pytest.fixture(scope="module")
def books(dal_server: Server) -> Iterator[Engine]:
    name = f"edge_{uuid.uuid4().hex}"
    engine = create_engine(dal_server.create_database(name), poolclass=NullPool)
    METADATA.create_all(engine)
    with Session(engine) as session:
        session.add_all(library())
        session.flush()
        session.execute(insert(Link), [{"id": n, "next_id": None} for n in range(1, LINKS + 1)])
        session.execute(update(Link), [{"id": n, "next_id": n + 1} for n in range(1, LINKS)])
        session.commit()
    yield engine
    engine.dispose()
    dal_server.drop_database(name)


@pytest.mark.parametrize(
    ("walk", "statements"),
    [
        (walks.group_of_which_one_is_loaded, 2),
        (walks.a_group_that_is_loaded, 1),
        (walks.composite_of_deferred_columns, 3),
        (walks.computed_column, 2),
        (walks.composite_key_of_odd_types, 2),
        (walks.expired_deferred_column, 2),
        (walks.expired_deferred_and_plain_column, 3),
        (walks.deferred_after_a_commit, 2),
        (walks.only_some_columns_after_a_commit, 2),
        (walks.undeferred_after_a_commit, 3),
        (walks.selectin_after_a_commit, 3),
        (walks.joined_after_a_commit, 2),
        (walks.expired_relationship, 3),
        (walks.reference_before_its_expired_key, 2),
        (walks.deferred_key_of_a_reference, 3),
        (walks.changed_keys_without_autoflush, 2),
        (walks.changed_natural_keys_without_autoflush, 4),
        (walks.reference_by_natural_key, 2),
        (walks.collection_by_natural_key, 2),
        (walks.mapped_collection, 2),
        (walks.the_first_of_many, 2),
        (walks.criteria_with_changing_values, 4),
        (walks.textual_statement, 3),
        (walks.union, 2),
        (walks.alias, 3),
        (walks.alias_of_a_subquery, 3),
        (walks.joined_by_hand, 3),
        (walks.legacy_query, 2),
        (walks.read_again_over_what_is_there, 4),
        (walks.history, 2),
        (walks.moved_between_collections, 3),
        (walks.written_after_a_savepoint, 6),
        (walks.changed_after_a_commit, 2),
        (walks.replaced_collections, 4),
    ],
)
def test_the_same_as_lazy(books: Engine, walk: Walk, statements: int) -> None:
    same_as_lazy(books, walk, statements)


def test_what_the_mapping_or_the_statement_refuses_stays_refused(books: Engine) -> None:
    def refused(session: Session, options: list[Any]) -> Any:
        found = walks.authors(session, [raiseload(Author.posts), defer(Author.name, raiseload=True), *options])
        said = []
        for key in ("secret", "name", "posts"):
            with pytest.raises(Exception, match="raiseload|raise") as caught:
                getattr(found[0], key)
            said.append(str(caught.value))
        return said

    same_as_lazy(books, refused, 1)


def test_lazyload_of_the_statement_stays_lazy(books: Engine) -> None:
    def walk(session: Session, options: list[Any]) -> Any:
        return [len(author.posts) for author in walks.authors(session, [lazyload(Author.posts), *options])]

    same_as_lazy(books, walk, 6)


@pytest.mark.parametrize("key", ["next", "previous"])
def test_a_long_chain(books: Engine, key: str) -> None:
    def walk(session: Session, options: list[Any]) -> list[int]:
        link = session.scalars(select(Link).where(Link.id == (1 if key == "next" else LINKS)).options(*options)).one()
        chain = [link]
        while (found := getattr(chain[-1], key)) not in (None, []):
            chain.append(found if key == "next" else found[0])
        longest = max(len(inspect(each).load_path.path) for each in chain)
        assert longest <= 80 or not options
        return [each.id for each in chain]

    same_as_lazy(books, walk, LINKS if key == "next" else LINKS + 1)
