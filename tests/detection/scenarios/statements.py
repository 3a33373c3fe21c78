"""The same statement in a loop, and loops that are right: pages, chunks, polling."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

import time

from sqlalchemy import bindparam, exists, func, literal_column, select, text, tuple_
from sqlalchemy.orm import Session, with_parent

from tests.detection.scenarios.models import (
    Category,
    Company,
    Item,
    Job,
    Login,
    Order,
    Post,
    Product,
    Setting,
    Tag,
    Team,
    User,
    Visit,
)
from tests.detection.scenarios.table import REPEATED, clean, dirty

IDS = [1, 2, 3, 4, 5, 6]


@dirty(REPEATED, source="zeal, queryspy")
def get_in_a_loop(app):
    return [app.session.get(User, key) for key in IDS]  # HERE


@dirty(REPEATED)
def get_by_a_repository_in_a_loop(app):
    class Users:
        def find(self, key):
            return app.session.get(User, key)  # HERE

    users = Users()
    for key in IDS:
        users.find(key)


@dirty(REPEATED, source="zeal")
def one_by_filter_in_a_loop(app):
    for key in IDS:
        app.session.execute(select(User).where(User.email == f"u{key}@example.org")).scalar_one()  # HERE


@dirty(REPEATED)
def legacy_query_get_in_a_loop(app):
    for key in IDS:
        app.session.query(User).filter_by(id=key).first()  # HERE


@dirty(REPEATED)
def children_by_foreign_key_in_a_loop(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalars(select(Post).where(Post.author_id == user.id)).all()  # HERE


@dirty(REPEATED)
def count_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalar(select(func.count()).select_from(Post).where(Post.author_id == user.id))  # HERE


@dirty(REPEATED, source="bullet")
def exists_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalar(select(exists().where(Post.author_id == user.id)))  # HERE


@dirty(REPEATED)
def sum_for_each_row(app):
    for key in IDS:
        app.session.scalar(select(func.sum(Order.total)).where(Order.user_id == key))  # HERE


@dirty(REPEATED)
def write_only_collection_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalars(user.logins.select()).all()  # HERE


@dirty(REPEATED)
def dynamic_collection_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        user.visits.all()  # HERE


@dirty(REPEATED)
def dynamic_count_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        user.visits.count()  # HERE


@dirty(REPEATED)
def with_parent_for_each_row(app):
    for user in app.session.scalars(select(User)).all():
        app.session.scalars(select(Post).where(with_parent(user, User.posts)).where(Post.title == "post 1")).all()  # HERE


@dirty(REPEATED)
def core_select_in_a_loop(app):
    with app.engine.connect() as connection:
        for key in IDS:
            connection.execute(select(User.__table__.c.name).where(User.__table__.c.id == key)).all()  # HERE


@dirty(REPEATED)
def text_in_a_loop(app):
    for key in IDS:
        app.session.execute(text("SELECT name FROM users WHERE id = :id"), {"id": key}).all()  # HERE


@dirty(REPEATED)
def f_string_in_a_loop(app):
    for key in IDS:
        app.session.execute(text(f"SELECT name FROM users WHERE id = {key}")).all()  # HERE


@dirty(REPEATED)
def f_string_with_quotes_in_a_loop(app):
    for key in IDS:
        app.session.execute(text(f"SELECT id FROM users WHERE name = 'user {key}'")).all()  # HERE


@dirty(REPEATED)
def driver_sql_in_a_loop(app):
    with app.engine.connect() as connection:
        for key in IDS:
            connection.exec_driver_sql(f"SELECT name FROM users WHERE id = {key}").all()  # HERE


@dirty(REPEATED)
def literal_columns_in_a_loop(app):
    for key in IDS:
        app.session.scalars(select(User.name).where(User.id == literal_column(str(key)))).all()  # HERE


@dirty(REPEATED)
def lock_for_each_row(app):
    for key in IDS:
        app.session.scalars(select(Product).where(Product.id == key).with_for_update()).one()  # HERE


@dirty(REPEATED)
def row_after_row_by_offset(app):
    for offset in range(6):
        app.session.scalars(select(User).order_by(User.id).limit(1).offset(offset)).first()  # HERE


@dirty(REPEATED)
def first_page_for_each_customer(app):
    for key in IDS:
        app.session.scalars(select(Order).where(Order.user_id == key).order_by(Order.number).limit(2)).all()  # HERE


@dirty(REPEATED)
def latest_for_each_user(app):
    for key in IDS:
        app.session.scalars(select(Post).where(Post.author_id == key).order_by(Post.id.desc()).limit(1)).first()  # HERE


@dirty(REPEATED)
def list_for_each_item(app):
    for order in app.session.scalars(select(Order).where(Order.shop < 3)).all():
        app.session.scalars(select(Product).where(Product.id.in_([order.number, order.number + 1]))).all()  # HERE


@dirty(REPEATED)
def lists_of_different_length_for_each_item(app):
    for key in IDS:
        app.session.execute(select(Tag.name).where(Tag.id.in_(list(range(1, key + 1))))).all()  # HERE


@dirty(REPEATED)
def batch_function_called_with_one_item(app):
    def load_many(keys):
        return app.session.scalars(select(User).where(User.id.in_(keys))).all()  # HERE

    for key in IDS:
        load_many([key])


@dirty(REPEATED)
def same_question_in_a_loop(app):
    for _ in IDS:
        app.session.execute(select(Setting.value).where(Setting.name == "vat")).scalar_one()  # HERE


@dirty(REPEATED)
def whole_table_in_a_loop(app):
    total = 0
    for key in IDS:
        companies = app.session.execute(select(Company.id, Company.name)).all()  # HERE
        total += len(companies) + key
    return total


@dirty(REPEATED)
def a_session_for_each_item(app):
    for key in IDS:
        with Session(app.engine) as session:
            session.get(User, key)  # HERE


@dirty(REPEATED)
def a_connection_for_each_item(app):
    for key in IDS:
        with app.engine.connect() as connection:
            connection.execute(text("SELECT name FROM users WHERE id = :id"), {"id": key}).all()  # HERE


@dirty(REPEATED)
def stream_with_a_query_inside(app):
    with Session(app.engine) as other:
        for user in app.session.scalars(select(User).execution_options(yield_per=2)):
            other.scalars(select(Post).where(Post.author_id == user.id)).all()  # HERE


@dirty(REPEATED)
def chain_of_parents_by_get(app):
    key = 104
    while key is not None:
        key = app.session.execute(select(Category.parent_id).where(Category.id == key)).scalar_one()  # HERE


@dirty(REPEATED)
def lookup_by_name_in_a_loop(app):
    for name in ("tag 1", "tag 2", "tag 3", "tag 4"):
        app.session.scalars(select(Tag).where(Tag.name == name)).first()  # HERE


@dirty(REPEATED)
def search_by_pattern_in_a_loop(app):
    for name in ("a%", "b%", "c%", "d%"):
        app.session.scalars(select(User).where(User.name.like(name))).all()  # HERE


@dirty(REPEATED)
def composite_keys_in_a_loop(app):
    for number in range(1, 4):
        app.session.get(Order, (1, number))  # HERE


@dirty(REPEATED)
def in_a_dict_comprehension(app):
    return {key: app.session.scalar(select(func.count(Item.id)).where(Item.shop == key)) for key in IDS}  # HERE


@dirty(REPEATED)
def in_two_nested_helpers(app):
    def name_of(key):
        return fetch(key)[0]

    def fetch(key):
        return app.session.execute(select(User.name).where(User.id == key)).one()  # HERE

    return [name_of(key) for key in IDS]


@dirty(REPEATED)
def batch_of_ids_then_one_by_one(app):
    for key in app.session.scalars(select(Post.id).where(Post.author_id == 1)).all():
        app.session.get(Post, key)  # HERE


@dirty(REPEATED)
def between_two_columns(app):
    for user in app.session.scalars(select(User)).all():
        stmt = select(Login.id).join(Visit, Visit.user_id == Login.user_id).where(Login.user_id == user.id)
        app.session.execute(stmt).all()  # HERE


# Silence is right.


@clean()
def pages_by_offset(app):
    return [app.session.scalars(select(Post).order_by(Post.id).limit(5).offset(at)).all() for at in range(0, 30, 5)]


@clean()
def pages_by_offset_of_one_customer(app):
    at = 0
    while rows := app.session.scalars(select(Post).where(Post.author_id == 1).order_by(Post.id).limit(2).offset(at)).all():
        at += len(rows)


@clean()
def pages_by_offset_in_text(app):
    for at in range(0, 30, 5):
        app.session.execute(text("SELECT id FROM posts ORDER BY id LIMIT 5 OFFSET :at"), {"at": at}).all()


@clean()
def pages_by_offset_in_an_f_string(app):
    for at in range(0, 30, 5):
        app.session.execute(text(f"SELECT id FROM posts ORDER BY id LIMIT 5 OFFSET {at}")).all()


@clean()
def keyset_walk(app):
    last = 0
    while rows := app.session.scalars(select(Post).where(Post.id > last).order_by(Post.id).limit(7)).all():
        last = rows[-1].id


@clean()
def keyset_walk_of_two_columns(app):
    key = ("", 0)
    stmt = (
        select(Post).where(tuple_(Post.title, Post.id) > tuple_(bindparam("a"), bindparam("b"))).order_by(Post.title, Post.id)
    )
    while rows := app.session.scalars(stmt.limit(7), {"a": key[0], "b": key[1]}).all():
        key = (rows[-1].title, rows[-1].id)


@clean()
def keyset_walk_written_out(app):
    title, last = "", 0
    while True:
        after = (Post.title > title) | ((Post.title == title) & (Post.id > last))
        rows = app.session.scalars(select(Post).where(after).order_by(Post.title, Post.id).limit(7)).all()
        if not rows:
            break
        title, last = rows[-1].title, rows[-1].id


@clean()
def keyset_walk_backwards(app):
    last = 10_000
    while rows := app.session.execute(select(Post.id).where(Post.id < last).order_by(Post.id.desc()).limit(9)).all():
        last = rows[-1].id


@clean()
def ranges_of_ids(app):
    for start in range(0, 100, 20):
        app.session.scalars(select(Post).where(Post.id >= start, Post.id < start + 20)).all()


@clean()
def ranges_by_between(app):
    for start in range(0, 100, 20):
        app.session.execute(select(Post.id).where(Post.id.between(start, start + 19))).all()


@clean()
def lists_in_chunks(app):
    keys = list(range(100))
    for at in range(0, 100, 30):
        app.session.scalars(select(Post).where(Post.id.in_(keys[at : at + 30]))).all()


@clean()
def lists_in_equal_chunks(app):
    keys = list(range(100))
    for at in range(0, 100, 25):
        app.session.execute(select(Post.id).where(Post.id.in_(keys[at : at + 25]))).all()


@clean()
def dataloader_batches(app):
    def batch(keys):
        found = {user.id: user for user in app.session.scalars(select(User).where(User.id.in_(keys)))}
        return [found.get(key) for key in keys]

    for at in range(0, 60, 20):
        batch(list(range(at, at + 20)))


@clean()
def parallel_lists_by_type(app):
    for model in (User, Post, Product, Tag):
        app.session.scalars(select(model).where(model.id.in_([1, 2, 3]))).all()


@clean()
def the_same_model_on_three_lines(app):
    first = app.session.get(User, 1)
    second = app.session.get(User, 2)
    third = app.session.get(User, 3)
    return first, second, third


@clean()
def three_on_one_line(app):
    return app.session.get(User, 1), app.session.get(User, 2), app.session.get(User, 3)


@clean(source="prosopite")
def helper_called_from_three_lines(app):
    def find(key):
        return app.session.get(User, key)

    one = find(1)
    two = find(2)
    three = find(3)
    return one, two, three


@clean()
def twice_in_a_loop_of_two(app):
    return [app.session.scalar(select(func.count(User.id)).where(User.active == flag)) for flag in (True, False)]


@clean()
def polling_with_pauses(app):
    for _ in range(3):
        app.session.execute(select(Job.state).where(Job.id == 1)).scalar_one()
        time.sleep(0.03)


@clean()
def polling_in_new_transactions(app):
    for _ in range(4):
        app.session.execute(select(Job.state).where(Job.id == 1)).scalar_one()
        app.session.rollback()


@clean()
def polling_with_new_sessions(app):
    for _ in range(4):
        with Session(app.engine) as session:
            session.scalars(select(Job).where(Job.state == "waiting").limit(10)).all()


@clean()
def cache_that_asks_once_a_key(app):
    cache = {}
    for name in ("vat", "vat", "theme", "vat", "theme"):
        if name not in cache:
            cache[name] = app.session.execute(select(Setting.value).where(Setting.name == name)).scalar_one()
    return cache


@clean()
def identity_map_hits(app):
    users = app.session.scalars(select(User)).all()
    return [app.session.get(User, user.id) for user in users]


@clean()
def selectin_over_many_parents(app):
    from sqlalchemy import insert
    from sqlalchemy.orm import selectinload

    app.session.execute(insert(Post), [{"id": 1000 + n, "title": "x", "author_id": 1} for n in range(1100)])
    loaded = app.session.scalars(select(Post).where(Post.id >= 1000).options(selectinload(Post.comments))).all()
    total = sum(len(post.comments) for post in loaded)
    app.session.rollback()
    return total


@clean()
def clock_and_ping(app):
    for _ in range(5):
        app.session.execute(text("SELECT 1"))
        app.session.scalar(select(func.current_timestamp()))


@clean()
def reflection(app):
    from sqlalchemy import MetaData, inspect

    inspector = inspect(app.engine)
    for name in inspector.get_table_names():
        inspector.get_columns(name)
    MetaData().reflect(app.engine)


@clean()
def five_queries_of_a_dashboard(app):
    return [
        app.session.scalar(select(func.count(User.id))),
        app.session.scalar(select(func.count(Post.id))),
        app.session.scalar(select(func.count(Order.number))),
        app.session.scalar(select(func.count(Team.id))),
        app.session.scalar(select(func.count(Tag.id))),
    ]


@clean()
def counts_of_several_tables_in_a_loop(app):
    return {model.__name__: app.session.scalar(select(func.count()).select_from(model)) for model in (User, Post, Tag, Team)}


@clean()
def one_query_with_all_keys(app):
    return app.session.scalars(select(User).where(User.id.in_(IDS))).all()


@clean()
def group_by_instead_of_counts(app):
    return app.session.execute(select(Post.author_id, func.count()).group_by(Post.author_id)).all()


@clean()
def locks_in_one_statement(app):
    return app.session.scalars(select(Product).where(Product.id.in_(IDS)).order_by(Product.id).with_for_update()).all()


@clean()
def window_for_the_latest_of_each(app):
    ranked = select(Post.id, func.row_number().over(partition_by=Post.author_id, order_by=Post.id.desc()).label("n")).subquery()
    return app.session.execute(select(ranked.c.id).where(ranked.c.n == 1)).all()


@clean()
def recursive_query_for_a_chain(app):
    chain = select(Category.id, Category.parent_id).where(Category.id == 104).cte(recursive=True)
    chain = chain.union_all(select(Category.id, Category.parent_id).join(chain, Category.id == chain.c.parent_id))
    return app.session.execute(select(chain.c.id)).all()


@clean()
def retry_after_an_error(app):
    for _ in range(3):
        try:
            app.session.execute(text("SELECT nothing FROM nowhere WHERE id = :id"), {"id": 1})
        except Exception:
            app.session.rollback()


@clean()
def page_and_total(app):
    for at in (0, 5, 10, 15):
        page = select(Post).where(Post.author_id <= 6).order_by(Post.id)
        app.session.scalars(page.limit(5).offset(at)).all()


@clean()
def newest_since_the_last_look(app):
    seen = 0
    for _ in range(4):
        rows = app.session.scalars(select(Post.id).where(Post.id > seen).order_by(Post.id).limit(10)).all()
        seen = rows[-1] if rows else seen
