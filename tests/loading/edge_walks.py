"""Walks over rare mappings and states; each takes a session and the options of its queries, and returns what it saw."""

from __future__ import annotations

import warnings
from typing import Any

from sqlalchemy import inspect, select, text, union_all
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    defer,
    joinedload,
    load_only,
    selectinload,
    undefer,
    undefer_group,
    with_loader_criteria,
)

from tests.loading.edge import Author, Note, Paint, Post


def authors(session: Session, options: list[Any]) -> list[Author]:
    return list(session.scalars(select(Author).order_by(Author.id).options(*options)))


def posts(session: Session, options: list[Any]) -> list[Post]:
    return list(session.scalars(select(Post).order_by(Post.id).options(*options)))


def keys(found: list[Any]) -> list[list[str]]:
    return [sorted(key for key in vars(each) if not key.startswith("_")) for each in found]


def group_of_which_one_is_loaded(session: Session, options: list[Any]) -> Any:
    return [author.town for author in authors(session, [undefer(Author.street), *options])]


def a_group_that_is_loaded(session: Session, options: list[Any]) -> Any:
    return [author.town for author in authors(session, [undefer_group("address"), *options])]


def composite_of_deferred_columns(session: Session, options: list[Any]) -> Any:
    return [post.size.__composite_values__() for post in posts(session, options)]


def computed_column(session: Session, options: list[Any]) -> Any:
    return [author.written for author in authors(session, options)]  # type: ignore[attr-defined]


def composite_key_of_odd_types(session: Session, options: list[Any]) -> Any:
    return [paint.recipe for paint in session.scalars(select(Paint).order_by(Paint.token, Paint.colour).options(*options))]


def expired_deferred_column(session: Session, options: list[Any]) -> Any:
    found = authors(session, options)
    for author in found:
        session.expire(author, ["bio"])
    return [author.bio for author in found]


def expired_deferred_and_plain_column(session: Session, options: list[Any]) -> Any:
    found = authors(session, [undefer(Author.bio), *options])
    for author in found:
        session.expire(author, ["bio", "name"])
    return [(author.bio, author.name) for author in found]


def deferred_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = authors(session, options)
    session.commit()
    return [author.bio for author in found]


def only_some_columns_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = authors(session, [load_only(Author.name), *options])
    session.commit()
    return [author.name for author in found], keys(found)


def undeferred_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = authors(session, [undefer(Author.bio), *options])
    session.commit()
    return [(author.name, author.bio) for author in found]


def selectin_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = authors(session, [selectinload(Author.posts), *options])
    session.commit()
    return [[post.id for post in author.posts] for author in found]


def joined_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = posts(session, [joinedload(Post.author), *options])
    session.commit()
    return [post.author and post.author.name for post in found]


def expired_relationship(session: Session, options: list[Any]) -> Any:
    found = authors(session, [selectinload(Author.posts), *options])
    for author in found:
        session.expire(author, ["posts"])
    return [[post.id for post in author.posts] for author in found]


def reference_before_its_expired_key(session: Session, options: list[Any]) -> Any:
    found = posts(session, options)
    session.commit()
    return [post.author and post.author.name for post in found]


def deferred_key_of_a_reference(session: Session, options: list[Any]) -> Any:
    found = posts(session, [defer(Post.author_id), *options])
    return [post.author and post.author.id for post in found], [post.author_id for post in found]


def changed_keys_without_autoflush(session: Session, options: list[Any]) -> Any:
    found = posts(session, options)
    with session.no_autoflush:
        found[0].author_id, found[3].author_id = 5, None
        return [post.author and post.author.id for post in found]


def changed_natural_keys_without_autoflush(session: Session, options: list[Any]) -> Any:
    found = list(session.scalars(select(Note).order_by(Note.id).options(*options)))
    with session.no_autoflush:
        found[0].code, found[3].code = "c5", None
        return [note.author and note.author.id for note in found]


def reference_by_natural_key(session: Session, options: list[Any]) -> Any:
    return [note.author and note.author.id for note in session.scalars(select(Note).order_by(Note.id).options(*options))]


def collection_by_natural_key(session: Session, options: list[Any]) -> Any:
    return [[note.id for note in author.notes] for author in authors(session, options)]


def mapped_collection(session: Session, options: list[Any]) -> Any:
    return [{title: post.id for title, post in author.by_title.items()} for author in authors(session, options)]


def the_first_of_many(session: Session, options: list[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Multiple rows returned with uselist=False")
        return [author.newest and author.newest.id for author in authors(session, options)]


def criteria_with_changing_values(session: Session, options: list[Any]) -> Any:
    seen = []
    for least in (21, 43):
        found = authors(session, [with_loader_criteria(Post, lambda cls: cls.id > least), *options])  # noqa: B023
        seen.append([[post.id for post in author.posts] for author in found])
        session.expunge_all()
    return seen


def textual_statement(session: Session, options: list[Any]) -> Any:
    found = session.scalars(select(Author).from_statement(text("SELECT id, code FROM authors ORDER BY id")).options(*options))
    return [(author.name, [post.id for post in author.posts]) for author in found.all()]


def union(session: Session, options: list[Any]) -> Any:
    both = union_all(select(Author).where(Author.id < 3), select(Author).where(Author.id > 3))
    return [len(author.posts) for author in session.scalars(select(Author).from_statement(both).options(*options)).all()]


def alias(session: Session, options: list[Any]) -> Any:
    other = aliased(Author)
    return [(len(each.posts), each.bio) for each in session.scalars(select(other).order_by(other.id).options(*options)).all()]


def alias_of_a_subquery(session: Session, options: list[Any]) -> Any:
    later = aliased(Author, select(Author).where(Author.id > 2).subquery())
    found = session.scalars(select(later).order_by(later.id).options(*options)).all()
    return [([post.author is each for post in each.posts], each.bio) for each in found]


def joined_by_hand(session: Session, options: list[Any]) -> Any:
    query = select(Author).join(Author.posts).options(contains_eager(Author.posts), *options).order_by(Author.id, Post.id)
    return [[post.size.__composite_values__() for post in author.posts] for author in session.scalars(query).unique()]


def legacy_query(session: Session, options: list[Any]) -> Any:
    return [len(author.posts) for author in session.query(Author).options(*options).order_by(Author.id)]


def read_again_over_what_is_there(session: Session, options: list[Any]) -> Any:
    before = [len(author.posts) for author in authors(session, options)]
    again = session.scalars(select(Author).order_by(Author.id).options(*options), execution_options={"populate_existing": True})
    return before, [len(author.posts) for author in again]


def history(session: Session, options: list[Any]) -> Any:
    return [len(inspect(author).attrs.posts.load_history().unchanged) for author in authors(session, options)]


def moved_between_collections(session: Session, options: list[Any]) -> Any:
    found, moved = authors(session, options), posts(session, options)
    with session.no_autoflush:
        moved[0].author, moved[1].author = found[4], None
        found[2].posts.remove(found[2].posts[0])
        return [sorted(post.id for post in author.posts) for author in found]


def written_after_a_savepoint(session: Session, options: list[Any]) -> Any:
    found = authors(session, options)
    savepoint = session.begin_nested()
    found[0].name = "changed"
    session.flush()
    savepoint.rollback()
    return [(author.name, len(author.posts)) for author in found]


def changed_after_a_commit(session: Session, options: list[Any]) -> Any:
    found = authors(session, options)
    session.flush()
    session.expire_all()
    for author in found:
        author.name = author.name.upper()
    return [(author.code, author.name) for author in found]


def replaced_collections(session: Session, options: list[Any]) -> Any:
    found = authors(session, options)
    found[3].posts, found[4].posts = [], found[2].posts[:1]
    session.flush()
    session.expire_all()
    return [[post.id for post in author.posts] for author in found]
