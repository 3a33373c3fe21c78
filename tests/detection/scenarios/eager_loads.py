"""Eager loads nobody reads, joins that multiply, and eager loading done well."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import pickle

from sqlalchemy import func, select
from sqlalchemy.orm import contains_eager, joinedload, lazyload, selectinload, subqueryload

from tests.detection.scenarios.models import Category, Company, Order, Post, Team, User
from tests.detection.scenarios.table import MULTIPLIED, UNUSED, clean, dirty


@dirty(UNUSED, "User.posts", source="bullet, nplusone")
def unused_selectin(app):
    return [user.name for user in app.session.scalars(select(User).options(selectinload(User.posts)))]  # HERE


@dirty(UNUSED, "User.posts", source="bullet, nplusone")
def unused_joined(app):
    return [user.name for user in app.session.scalars(select(User).options(joinedload(User.posts))).unique()]  # HERE


@dirty(UNUSED, "User.posts", source="nplusone")
def unused_subquery(app):
    return [user.name for user in app.session.scalars(select(User).options(subqueryload(User.posts)))]  # HERE


@dirty(UNUSED, "Team.players")
def unused_mapped_selectin(app):
    return [(team.name, team.coach.name) for team in app.session.scalars(select(Team))]  # HERE


@dirty(UNUSED, "Post.comments", source="bullet")
def unused_second_level(app):
    stmt = select(User).options(selectinload(User.posts).selectinload(Post.comments))
    return [[post.title for post in user.posts] for user in app.session.scalars(stmt)]  # HERE


@dirty(UNUSED, "User.badges", source="bullet")
def one_of_two_options_unused(app):
    stmt = select(User).options(selectinload(User.posts), selectinload(User.badges))
    return [len(user.posts) for user in app.session.scalars(stmt)]  # HERE


@dirty(UNUSED, "User.company", source="bullet")
def unused_joined_scalar(app):
    return [user.email for user in app.session.scalars(select(User).options(joinedload(User.company)))]  # HERE


@dirty(UNUSED, "Order.items")
def unused_composite(app):
    return sum(order.total for order in app.session.scalars(select(Order).options(selectinload(Order.items))))  # HERE


@dirty(UNUSED, "Post.tags", source="bullet")
def unused_many_to_many(app):
    return [post.title for post in app.session.scalars(select(Post).options(selectinload(Post.tags)))]  # HERE


@dirty(UNUSED, "Category.children")
def unused_self_referential(app):
    stmt = select(Category).where(Category.parent_id == 1).options(selectinload(Category.children))
    return [category.name for category in app.session.scalars(stmt)]  # HERE


@dirty(MULTIPLIED, "User.posts x User.badges")
def two_joined_collections(app):
    stmt = select(User).options(joinedload(User.posts), joinedload(User.badges))
    return [(len(user.posts), len(user.badges)) for user in app.session.scalars(stmt).unique()]  # HERE


@dirty(MULTIPLIED, "User.posts x User.badges x User.orders")
def three_joined_collections(app):
    stmt = select(User).options(joinedload(User.posts), joinedload(User.badges), joinedload(User.orders))
    rows = app.session.scalars(stmt).unique().all()  # HERE
    return [(len(user.posts), len(user.badges), len(user.orders)) for user in rows]


@dirty(MULTIPLIED)
def joined_collections_below_a_scalar(app):
    stmt = select(Post).options(joinedload(Post.author).options(joinedload(User.badges), joinedload(User.orders)))
    rows = app.session.scalars(stmt).unique().all()  # HERE
    return [(len(post.author.badges), len(post.author.orders)) for post in rows]


# Silence is right.


@clean(source="bullet")
def read_on_one_object_only(app):
    users = app.session.scalars(select(User).options(selectinload(User.posts))).all()
    return len(users[0].posts)


@clean(source="bullet")
def only_counted(app):
    return sum(len(user.posts) for user in app.session.scalars(select(User).options(selectinload(User.posts))))


@clean(source="bullet")
def only_asked_for_truth(app):
    return [bool(user.posts) for user in app.session.scalars(select(User).options(selectinload(User.posts)))]


@clean(source="nplusone")
def nothing_was_there_to_load(app):
    stmt = select(Post).where(Post.id < 0).options(selectinload(Post.comments), selectinload(Post.tags))
    return app.session.scalars(stmt).all()


@clean()
def parents_without_children(app):
    stmt = select(Category).where(Category.id.in_([104, 20, 21])).options(selectinload(Category.children))
    return [category.name for category in app.session.scalars(stmt)]


@clean()
def read_by_a_second_query(app):
    first = app.session.scalars(select(User).options(selectinload(User.posts))).all()
    again = app.session.scalars(select(User)).all()
    return len(first), [len(user.posts) for user in again]


@clean()
def read_in_a_condition(app):
    users = app.session.scalars(select(User).options(selectinload(User.posts))).all()
    return [user.name for user in users if user.id == 1 and user.posts]


@clean()
def handed_to_the_cache(app):
    return pickle.dumps(app.session.scalars(select(User).options(selectinload(User.posts))).all())


@clean()
def mapped_and_read(app):
    return [[player.name for player in team.players] for team in app.session.scalars(select(Team))]


@clean()
def mapped_and_switched_off(app):
    return [team.name for team in app.session.scalars(select(Team).options(lazyload("*")))]


@clean()
def a_single_object_with_an_option(app):
    user = app.session.scalars(select(User).where(User.id == 1).options(joinedload(User.company))).unique().one()
    return user.name


@clean()
def one_joined_collection(app):
    return [len(user.posts) for user in app.session.scalars(select(User).options(joinedload(User.posts))).unique()]


@clean()
def nested_joined_collections(app):
    stmt = select(Company).options(joinedload(Company.users).joinedload(User.posts))
    return [len(user.posts) for company in app.session.scalars(stmt).unique() for user in company.users]


@clean()
def two_collections_by_selectin(app):
    stmt = select(User).options(selectinload(User.posts), selectinload(User.badges))
    return [(len(user.posts), len(user.badges)) for user in app.session.scalars(stmt)]


@clean()
def joined_scalar_and_collection(app):
    stmt = select(User).options(joinedload(User.company), joinedload(User.posts))
    return [(user.company.name, len(user.posts)) for user in app.session.scalars(stmt).unique()]


@clean()
def two_joined_collections_of_one_small_object(app):
    stmt = select(User).where(User.id == 1).options(joinedload(User.orders), joinedload(User.badges))
    user = app.session.scalars(stmt).unique().one()
    return len(user.orders), len(user.badges)


@clean()
def filtered_join_kept(app):
    stmt = select(User).join(User.posts).where(Post.id < 40).options(contains_eager(User.posts))
    return [len(user.posts) for user in app.session.scalars(stmt).unique()]


@clean()
def held_and_read_later(app):
    app.users = app.session.scalars(select(User).options(selectinload(User.posts))).all()


@clean()
def set_from_the_option(app):
    users = app.session.scalars(select(User).options(selectinload(User.orders))).all()
    return {order.status for user in users for order in user.orders}


@clean()
def aggregated_in_the_database(app):
    return app.session.execute(select(User.name, func.count(Post.id)).join(User.posts).group_by(User.name)).all()
