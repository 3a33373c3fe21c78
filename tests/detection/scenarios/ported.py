"""More of what Bullet, Prosopite, django-zeal and nplusone test themselves with, in the words of SQLAlchemy."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import joinedload, load_only, raiseload, selectinload

from tests.detection.scenarios.models import Comment, Item, Order, Post, Profile, Tag, User
from tests.detection.scenarios.table import COLUMN, N1, REPEATED, clean, dirty


@dirty(N1, "Post.author", source="zeal")
def many_to_one_inside_yield_per(app):
    for post in app.session.scalars(select(Post).execution_options(yield_per=2)):
        len(post.author.name)  # HERE


@dirty(N1, "Post.tags", source="zeal")
def many_to_many_inside_yield_per(app):
    for post in app.session.scalars(select(Post).execution_options(yield_per=2)):
        len(post.tags)  # HERE


@dirty(N1, "Tag.posts", source="zeal")
def many_to_many_backward_inside_yield_per(app):
    for tag in app.session.scalars(select(Tag).execution_options(yield_per=2)):
        len(tag.posts)  # HERE


@dirty(N1, "User.profile", source="zeal")
def one_to_one_backward_inside_yield_per(app):
    for user in app.session.scalars(select(User).execution_options(yield_per=2)):
        user.profile  # HERE


@dirty(COLUMN, "User.name", source="zeal")
def deferred_column_of_a_joined_author(app):
    loaded = joinedload(Post.author).load_only(User.email)
    return [post.author.name for post in app.session.scalars(select(Post).options(loaded))]  # HERE


@dirty(REPEATED, source="prosopite")
def keys_of_the_children_of_each(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalars(select(Post.id).where(Post.author_id == user.id)).all()  # HERE


@dirty(N1, "Order.items", source="bullet")
def below_a_filter_on_a_join(app):
    rows = app.session.scalars(select(Order).join(Order.user).where(User.name != "")).unique().all()
    return [len(order.items) for order in rows]  # HERE


@dirty(N1, "Item.product", source="bullet")
def through_an_eager_collection(app):
    orders = app.session.scalars(select(Order).options(selectinload(Order.items))).all()
    return [item.product.name for order in orders for item in order.items]  # HERE


@clean(source="zeal")
def selectin_of_a_scalar(app):
    return [post.author.name for post in app.session.scalars(select(Post).options(selectinload(Post.author)))]


@clean(source="zeal")
def selectin_of_a_one_to_one(app):
    rows = app.session.scalars(select(User).options(selectinload(User.profile))).all()
    return [user.profile for user in rows]


@clean(source="zeal")
def selectin_with_the_columns_that_are_read(app):
    loaded = selectinload(Post.author).load_only(User.name)
    return [post.author.name for post in app.session.scalars(select(Post).options(loaded))]


@clean(source="zeal")
def two_objects_by_slices(app):
    first = app.session.query(Profile)[0]
    second = app.session.query(Profile)[1]
    one = first.user.name
    return one, second.user.name


@clean(source="zeal")
def joined_inside_yield_per(app):
    statement = select(Post).options(joinedload(Post.author)).execution_options(yield_per=2)
    return [post.author.name for post in app.session.scalars(statement)]


@clean(source="prosopite")
def two_collections_of_one_class(app):
    rows = app.session.scalars(
        select(Post).options(selectinload(Post.comments).selectinload(Comment.user), joinedload(Post.author))
    )
    return [(post.author.name, [comment.user for comment in post.comments]) for post in rows]


@clean(source="bullet")
def all_levels_of_a_chain(app):
    orders = app.session.scalars(select(Order).options(selectinload(Order.items).joinedload(Item.product))).all()
    return [item.product.name for order in orders for item in order.items]


@clean(source="nplusone")
def forbidden_and_left_alone(app):
    rows = app.session.scalars(select(User).options(raiseload(User.posts), load_only(User.name))).all()
    return [user.name for user in rows]
