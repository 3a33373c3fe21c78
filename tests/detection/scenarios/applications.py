"""Whole pieces of applications: serializers, exports, imports, admin pages, workers, tenants; some well written, some not."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code=union-attr
from __future__ import annotations

import csv
import io
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from operator import attrgetter

from pydantic import BaseModel, ConfigDict
from sqlalchemy import bindparam, delete, event, func, insert, select, text, tuple_, update
from sqlalchemy.orm import (
    Session,
    joinedload,
    load_only,
    object_session,
    selectinload,
    with_loader_criteria,
    with_polymorphic,
)
from sqlalchemy.orm.attributes import set_committed_value

from tests.detection.scenarios.models import (
    Badge,
    Base,
    CardPayment,
    Category,
    Comment,
    Company,
    Draft,
    Employee,
    Job,
    Login,
    Manager,
    Order,
    Payment,
    Post,
    Product,
    Setting,
    Tag,
    User,
)
from tests.detection.scenarios.table import COLUMN, N1, REPEATED, UNUSED, WRITES, clean, dirty


class PostView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str


class UserView(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    posts: list[PostView]


def everybody(app, *options):
    return app.session.scalars(select(User).options(*options).order_by(User.id)).all()


def dump(target, fields):
    """Serialize by a tree of names, as schema libraries do."""
    found = {}
    for name, below in fields.items():
        value = getattr(target, name)  # HERE
        found[name] = [dump(each, below) for each in value] if isinstance(value, list) else value
    return found


FIELDS: dict[str, object] = {"name": {}, "posts": {"title": {}, "comments": {"body": {}}}}


# Serializers and exports.


@dirty(N1, "Post.comments")
def schema_of_three_levels(app):
    return [dump(user, FIELDS) for user in everybody(app, selectinload(User.posts))]


@clean()
def schema_of_three_levels_with_options(app):
    return [dump(user, FIELDS) for user in everybody(app, selectinload(User.posts).selectinload(Post.comments))]


@dirty(N1, "User.posts")
def pydantic_views(app):
    return [UserView.model_validate(user) for user in everybody(app)]  # HERE


@clean()
def pydantic_views_with_options(app):
    return [UserView.model_validate(user) for user in everybody(app, selectinload(User.posts))]


@clean()
def everything_an_object_has_by_its_dict(app):
    """What FastAPI's encoder does without a response model."""

    def encoded(target):
        found = {name: value for name, value in vars(target).items() if not name.startswith("_sa")}
        return found | {"posts": [vars(post) | {"_sa_instance_state": None} for post in found.get("posts", ())]}

    return [encoded(user) for user in everybody(app, selectinload(User.posts))]


@dirty(N1, "User.posts")
def json_by_a_default_hook(app):
    return json.dumps(everybody(app), default=lambda user: {"name": user.name, "posts": len(user.posts)})  # HERE


@dirty(N1, "User.company")
def rows_of_a_csv_file(app):
    csv.writer(io.StringIO()).writerows((user.name, user.company.name) for user in everybody(app))  # HERE


@clean()
def rows_of_a_csv_file_with_options(app):
    rows = everybody(app, joinedload(User.company))
    csv.writer(io.StringIO()).writerows((user.name, user.company.name) for user in rows)


@dirty(N1, "User.company")
def fields_of_a_format(app):
    return ["{user.name} of {user.company.name}".format(user=user) for user in everybody(app)]  # noqa: UP032  # HERE


@dirty(N1, "Post.author")
def grouped_by_a_related_name(app):
    posts = app.session.scalars(select(Post).order_by(Post.author_id)).all()
    return [name for name, _ in itertools.groupby(posts, key=attrgetter("author.name"))]  # HERE


@dirty(N1, "User.badges")
def association_proxy(app):
    return [list(user.badge_names) for user in everybody(app)]  # HERE


@clean()
def association_proxy_with_options(app):
    return [list(user.badge_names) for user in everybody(app, selectinload(User.badges))]


@dirty(COLUMN, "User.bio")
def deferred_column_of_an_export(app):
    statement = select(User).execution_options(yield_per=3)
    return [f"{user.name};{user.bio}" for user in app.session.scalars(statement)]  # HERE


@clean()
def export_with_its_children_in_chunks(app):
    statement = select(Post).order_by(Post.id).execution_options(yield_per=10)
    for chunk in app.session.scalars(statement).partitions():
        keys = [post.id for post in chunk]
        app.session.execute(select(Comment.body).where(Comment.post_id.in_(keys))).all()


@dirty(REPEATED)
def export_with_the_children_of_each(app):
    statement = select(Post).order_by(Post.id).execution_options(yield_per=10)
    for chunk in app.session.scalars(statement).partitions():
        for post in chunk:
            app.session.execute(select(Comment.body).where(Comment.post_id == post.id)).all()  # HERE


# Lists and admin pages.


@clean()
def asked_until_the_first_that_has_any(app):
    return any(user.posts for user in everybody(app))


@dirty(N1, "Comment.user")
def comments_shown_by_two_functions_in_turns(app):
    def short(comment):
        return comment.user.name  # HERE

    def long(comment):
        return comment.body, comment.user.name  # HERE

    comments = app.session.scalars(select(Comment).where(Comment.id.in_([111, 211, 311, 411, 511, 611]))).all()
    return [(short, long)[at % 2](comment) for at, comment in enumerate(comments)]


@dirty(REPEATED)
def query_in_a_method_of_the_model(app):
    def latest(user):
        newest = select(Post).where(Post.author_id == user.id).order_by(Post.id.desc()).limit(1)
        return object_session(user).scalars(newest).first()  # HERE

    return [latest(user) for user in everybody(app)]


@dirty(REPEATED)
def permission_checked_for_each(app):
    def may_edit(user):
        mine = select(Badge.id).join(User.badges).where(User.id == user.id, Badge.name == "badge 1")
        return app.session.scalar(select(mine.exists()))  # HERE

    return [user.name for user in everybody(app) if may_edit(user)]


@clean()
def permission_kept_on_the_session(app):
    def may_edit(name):
        known = app.session.info.setdefault("permissions", {})
        if name not in known:
            known[name] = app.session.scalar(select(Badge.id).where(Badge.name == name)) is not None
        return known[name]

    return [may_edit(f"badge {user.id % 2}") for user in everybody(app)]


@dirty(REPEATED)
def address_in_another_case(app):
    for number in range(1, 5):
        email = f"U{number}@Example.org"
        app.session.scalar(select(User).where(func.lower(User.email) == func.lower(email)))  # HERE


@dirty(REPEATED)
def get_with_options_in_a_loop(app):
    for key in range(1, 6):
        len(app.session.get(User, key, options=[selectinload(User.posts)]).posts)  # HERE


@dirty(REPEATED)
def cache_that_is_always_missed(app):
    @lru_cache
    def author(key):
        return app.session.scalar(select(User.name).where(User.id == key))  # HERE

    return [author(key) for key in (1, 2, 3, 4, 1, 2, 3, 4)]


@dirty(N1, "Category.children")
def empty_collections_of_each(app):
    leaves = app.session.scalars(select(Category).where(Category.id.between(20, 49))).all()
    return [len(leaf.children) for leaf in leaves]  # HERE


@clean()
def one_job_expired_and_read_until_it_is_done(app):
    job = app.session.get(Job, 1)
    for _ in range(4):
        app.session.expire_all()
        job.state


@clean()
def feed_without_what_was_seen(app):
    seen: list[int] = []
    while page := app.session.scalars(select(User.id).where(User.id.not_in(seen)).order_by(User.id).limit(2)).all():
        seen += page


@clean()
def page_after_page_of_a_tuple(app):
    last = (0, 0)
    keys = select(Order.shop, Order.number).order_by(Order.shop, Order.number).limit(4)
    while page := app.session.execute(keys.where(tuple_(Order.shop, Order.number) > last)).all():
        last = tuple(page[-1])


@clean()
def windows_of_row_numbers(app):
    numbered = select(Post.id, func.row_number().over(order_by=Post.id).label("row")).subquery()
    for start in range(0, 30, 10):
        app.session.execute(select(numbered.c.id).where(numbered.c.row > start, numbered.c.row <= start + 10)).all()


# Trees.


@clean()
def tree_by_levels(app):
    level = [1]
    while level:
        level = list(app.session.scalars(select(Category.id).where(Category.parent_id.in_(level))))


@clean()
def tree_of_entities_by_levels(app):
    level = app.session.scalars(select(Category).where(Category.id == 1)).all()
    while level:
        keys = [category.id for category in level]
        level = app.session.scalars(select(Category).where(Category.parent_id.in_(keys))).all()


@dirty(REPEATED)
def tree_by_a_query_for_each_node(app):
    def below(key):
        children = app.session.scalars(select(Category.id).where(Category.parent_id == key)).all()  # HERE
        return {child: below(child) for child in children}

    return below(1)


@clean()
def tree_put_together_by_hand(app):
    every = app.session.scalars(select(Category)).all()
    for category in every:
        set_committed_value(category, "children", [each for each in every if each.parent_id == category.id])

    def count(category):
        return 1 + sum(count(child) for child in category.children)

    return count(next(category for category in every if category.parent_id is None))


# Inheritance.


@dirty(N1, "CardPayment.payer")
def polymorphic_list_with_a_relationship_of_one_kind(app):
    return [payment.payer.name for payment in app.session.scalars(select(Payment))]  # HERE


@clean()
def polymorphic_list_with_its_relationships(app):
    every = with_polymorphic(Payment, [CardPayment], flat=True)
    statement = select(every).options(selectinload(every.CardPayment.payer))
    return [payment.payer.name for payment in app.session.scalars(statement)]


@clean()
def all_columns_of_joined_tables(app):
    every = with_polymorphic(Employee, [Manager])
    return [employee.bonus for employee in app.session.scalars(select(every))]


# Criteria for everybody: soft deletes and tenants.


@dirty(N1, "User.posts")
def without_the_deleted_ones(app):
    kept = with_loader_criteria(Post, Post.editor_id.is_(None), include_aliases=True)
    return [len(user.posts) for user in everybody(app, kept)]  # HERE


@clean()
def without_the_deleted_ones_at_once(app):
    kept = with_loader_criteria(Post, Post.editor_id.is_(None), include_aliases=True)
    return [len(user.posts) for user in everybody(app, kept, selectinload(User.posts))]


@clean()
def a_tenant_added_to_every_statement(app):
    def of_the_tenant(state):
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(User, User.company_id == 1))

    event.listen(app.session, "do_orm_execute", of_the_tenant)
    users = everybody(app, selectinload(User.posts), joinedload(User.company))
    return [(user.company.name, len(user.posts)) for user in users]


@dirty(N1, "User.orders")
def a_tenant_added_and_the_orders_forgotten(app):
    def of_the_tenant(state):
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(User, User.company_id == 1))

    event.listen(app.session, "do_orm_execute", of_the_tenant)
    return [len(user.orders) for user in everybody(app)]  # HERE


# Refreshes.


@dirty(COLUMN, "User")
def relationship_refreshed_for_each(app):
    for user in everybody(app):
        app.session.refresh(user, ["posts"])  # HERE


@clean()
def relationship_refreshed_of_one(app):
    user = app.session.get(User, 1)
    app.session.refresh(user, ["posts", "badges", "orders"])
    return len(user.posts)


@dirty(COLUMN, "User")
def locked_one_by_one(app):
    for user in everybody(app):
        app.session.refresh(user, with_for_update=True)  # HERE


# Imports, bulk edits, workers.


@dirty(REPEATED, writes=True)
def import_that_looks_up_each_row(app):
    for row in csv.DictReader(io.StringIO("name,stock\nproduct 1,5\nproduct 2,6\nproduct 3,7\nproduct 4,8\n")):
        product = app.session.scalar(select(Product).where(Product.name == row["name"]))  # HERE
        product.stock = int(row["stock"])
    app.session.commit()


@clean(writes=True)
def import_that_looks_up_all_rows(app):
    rows = list(csv.DictReader(io.StringIO("name,stock\nproduct 1,5\nproduct 2,6\nproduct 3,7\nproduct 4,8\n")))
    products = {
        each.name: each for each in app.session.scalars(select(Product).where(Product.name.in_(row["name"] for row in rows)))
    }
    for row in rows:
        products[row["name"]].stock = int(row["stock"])
    app.session.commit()


@dirty(N1, "User.badges", writes=True)
def appended_to_each_collection(app):
    badge = Badge(name="loyal")
    for user in everybody(app):
        user.badges.append(badge)  # HERE
    app.session.commit()


@clean(writes=True)
def linked_by_one_insert(app):
    badge = Badge(name="loyal")
    app.session.add(badge)
    app.session.flush()
    link = User.badges.property.secondary
    app.session.execute(insert(link), [{"user_id": key, "badge_id": badge.id} for key in range(1, 7)])
    app.session.commit()


@dirty(WRITES, writes=True)
def bulk_edit_of_each_ticked_row(app):
    for key in (1, 2, 3, 4):
        app.session.execute(update(User).where(User.id == key, User.active).values(email="checked"))  # HERE
    app.session.commit()


@clean(writes=True)
def bulk_edit_of_the_ticked_rows(app):
    app.session.execute(update(User).where(User.id.in_([1, 2, 3, 4])).values(email="checked"))
    app.session.commit()
    return [user.email for user in everybody(app)]


@clean(writes=True)
def progress_of_a_row_with_a_version(app):
    draft = Draft(title="first")
    app.session.add(draft)
    app.session.commit()
    for number in range(4):
        draft.title = f"version {number}"
        app.session.commit()


@clean(writes=True)
def compared_and_swapped_until_it_fits(app):
    for number in range(5):
        swap = update(Job).where(Job.id == 1, Job.progress == number).values(progress=number + 1)
        app.session.execute(swap)
    app.session.commit()


@clean(writes=True)
def one_counter_by_upserts(app):
    mysql = app.engine.dialect.name == "mysql"
    again = "ON DUPLICATE KEY UPDATE value = :value" if mysql else "ON CONFLICT (name) DO UPDATE SET value = :value"
    for number in range(5):
        statement = text(f"INSERT INTO settings (name, value) VALUES (:name, :value) {again}")
        app.session.execute(statement, {"name": "hits", "value": str(number)})
    app.session.commit()


@clean(writes=True)
def what_is_left_after_each_batch(app):
    left = app.session.scalar(select(func.count(Login.id)))
    while left:
        some = app.session.scalars(select(Login.id).order_by(Login.id).limit(4)).all()
        app.session.execute(delete(Login).where(Login.id.in_(some)))
        left = app.session.scalar(select(func.count(Login.id)))


@dirty(REPEATED, writes=True)
def rate_asked_again_for_each_order(app):
    orders = app.session.scalars(select(Order)).all()
    rows = []
    for order in orders:
        rate = app.session.scalar(select(Setting.value).where(Setting.name == "vat"))  # HERE
        rows.append({"key": (order.shop, order.number), "total": order.total * int(rate)})
    return rows


@dirty(REPEATED, writes=True)
def rate_asked_again_between_writes_elsewhere(app):
    for number in range(4):
        rate = app.session.scalar(select(Setting.value).where(Setting.name == "vat"))  # HERE
        app.session.execute(insert(Tag), {"id": 100 + number, "name": f"vat {rate}"})
    app.session.commit()


@clean(writes=True)
def outbox_emptied_in_one_transaction(app):
    waiting = select(Job.id).where(Job.state == "waiting").order_by(Job.id).limit(2)
    while keys := app.session.scalars(waiting).all():
        app.session.execute(update(Job).where(Job.id.in_(keys)).values(state="sent"))
    app.session.commit()


@dirty(REPEATED)
def keys_shared_among_threads(app):
    def load(key):
        with Session(app.engine) as session:
            return session.scalar(select(User.name).where(User.id == key))  # HERE

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(load, range(1, 7)))


@clean()
def chunks_shared_among_threads(app):
    def load(keys):
        with Session(app.engine) as session:
            return session.scalars(select(Post.title).where(Post.id.in_(keys))).all()

    keys = [user * 10 + number for user in range(1, 7) for number in range(1, 6)]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(load, (keys[at : at + 10] for at in range(0, 30, 10))))


@dirty(UNUSED, "Company.users")
def dashboard_that_only_counts_in_sql(app):
    companies = app.session.scalars(select(Company).options(selectinload(Company.users))).all()  # HERE
    counts = app.session.execute(select(User.company_id, func.count(User.id)).group_by(User.company_id)).all()
    return [company.name for company in companies], dict(map(tuple, counts))


@clean()
def dashboard_of_names_only(app):
    rows = app.session.scalars(select(User).options(load_only(User.name), selectinload(User.profile).load_only())).all()
    return [(user.id, user.name, user.profile.id) for user in rows]


@clean(writes=True)
def stock_booked_by_one_executemany(app):
    products = Base.metadata.tables["products"]
    statement = update(products).where(products.c.id == bindparam("key")).values(stock=bindparam("left"))
    app.session.connection().execute(statement, [{"key": key, "left": 1} for key in range(1, 6)])
    app.session.commit()
