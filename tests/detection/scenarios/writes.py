"""Rows written one at a time, and writing done well."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

from sqlalchemy import delete, event, exists, insert, select, text, update
from sqlalchemy.orm import Session

from tests.detection.scenarios.models import Badge, Job, Login, Order, Post, Product, Setting, Tag, User
from tests.detection.scenarios.table import COLUMN, N1, REPEATED, WRITES, clean, dirty


@dirty(WRITES, writes=True)
def flush_for_each_row(app):
    for number in range(5):
        app.session.add(Tag(name=f"new {number}"))
        app.session.flush()  # HERE


@dirty(WRITES, writes=True)
def commit_for_each_row(app):
    for number in range(5):
        app.session.add(Tag(name=f"new {number}"))
        app.session.commit()  # HERE


@dirty(WRITES, writes=True)
def autoflush_for_each_row(app):
    for number in range(5):
        app.session.add(Login(user_id=number % 3 + 1))
        app.session.execute(select(Setting.value).where(Setting.name == f"s{number}")).first()  # HERE


@dirty(WRITES, writes=True)
def changed_and_committed_one_by_one(app):
    for user in app.session.scalars(select(User)).all():
        user.name += "!"
        app.session.commit()  # HERE


@dirty(WRITES, writes=True)
def changed_and_flushed_one_by_one(app):
    for product in app.session.scalars(select(Product)).all():
        product.stock -= 1
        app.session.flush()  # HERE


@dirty(WRITES, writes=True)
def update_statement_for_each_row(app):
    for key in range(1, 7):
        app.session.execute(update(Product).where(Product.id == key).values(stock=key))  # HERE


@dirty(WRITES, writes=True)
def delete_statement_for_each_row(app):
    for key in range(1, 6):
        app.session.execute(delete(Job).where(Job.id == key))  # HERE


@dirty(WRITES, writes=True)
def deleted_and_flushed_one_by_one(app):
    for login in app.session.scalars(select(Login)).all():
        app.session.delete(login)
        app.session.flush()  # HERE


@dirty(WRITES, writes=True)
def core_insert_for_each_row(app):
    with app.engine.begin() as connection:
        for number in range(5):
            connection.execute(insert(Tag), {"name": f"core {number}"})  # HERE


@dirty(WRITES, writes=True)
def text_update_for_each_row(app):
    for key in range(1, 6):
        app.session.execute(text("UPDATE products SET stock = 1 WHERE id = :id"), {"id": key})  # HERE


@dirty(WRITES, writes=True)
def f_string_update_for_each_row(app):
    for key in range(1, 6):
        app.session.execute(text(f"UPDATE products SET stock = 1 WHERE id = {key}"))  # HERE


@dirty(WRITES, writes=True)
def upsert_for_each_row(app):
    for number in range(5):
        stmt = insert(Setting).values(name=f"n{number}", value="1")
        stmt = stmt.prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
        app.session.execute(stmt)  # HERE


@dirty(WRITES, writes=True)
def service_that_commits_called_in_a_loop(app):
    def register(name):
        with Session(app.engine) as session:
            session.add(Badge(name=name))
            session.commit()  # HERE

    for number in range(5):
        register(f"badge {number}")


@dirty(REPEATED, writes=True)
def get_or_create_in_a_loop(app):
    for name in ("tag 1", "x", "y", "z"):
        tag = app.session.scalars(select(Tag).where(Tag.name == name)).first()  # HERE
        if tag is None:
            app.session.add(Tag(name=name))


@dirty(REPEATED, writes=True)
def merge_in_a_loop(app):
    for key in range(1, 6):
        app.session.merge(Badge(id=key, name="merged"))  # HERE


@dirty(REPEATED, writes=True)
def check_before_each_insert(app):
    for number in range(5):
        taken = app.session.scalar(select(exists().where(Tag.name == f"t{number}")))  # HERE
        if not taken:
            app.session.execute(insert(Tag), [{"name": f"t{number}"}, {"name": f"u{number}"}])


@dirty(COLUMN, "User", writes=True)
def values_read_after_one_commit_of_many(app):
    users = app.session.scalars(select(User)).all()
    for user in users:
        user.active = False
    app.session.commit()
    return [user.email for user in users]  # HERE


@dirty(N1, "User.orders", writes=True)
def relationship_cleared_for_each(app):
    for user in app.session.scalars(select(User)).all():
        user.orders.clear()  # HERE
    app.session.rollback()


# Silence is right.


@clean(source="queryspy", writes=True)
def add_all(app):
    app.session.add_all([Tag(name=str(number)) for number in range(50)])
    app.session.commit()


@clean(writes=True)
def add_in_a_loop_and_one_commit(app):
    for number in range(20):
        app.session.add(Login(user_id=number % 5 + 1))
    app.session.commit()


@clean(writes=True)
def changed_in_a_loop_and_one_commit(app):
    for user in app.session.scalars(select(User)).all():
        user.name = user.name.upper()
        user.active = not user.active
    app.session.commit()


@clean(writes=True)
def different_columns_changed_in_one_flush(app):
    for user in app.session.scalars(select(User)).all():
        if user.id % 2:
            user.name = "odd"
        else:
            user.email = "even"
            user.active = False
    app.session.commit()


@clean(writes=True)
def deleted_in_a_loop_and_one_commit(app):
    for login in app.session.scalars(select(Login)).all():
        app.session.delete(login)
    app.session.commit()


@clean(source="queryspy", writes=True)
def bulk_insert(app):
    app.session.execute(insert(Tag), [{"name": str(number)} for number in range(30)])
    app.session.commit()


@clean(writes=True)
def bulk_insert_in_chunks(app):
    for at in range(0, 100, 25):
        app.session.execute(insert(Tag), [{"name": str(number)} for number in range(at, at + 25)])
        app.session.commit()


@clean(writes=True)
def objects_flushed_in_chunks(app):
    for at in range(4):
        app.session.add_all([Tag(name=f"{at} {number}") for number in range(10)])
        app.session.flush()


@clean(writes=True)
def update_of_many_by_one_statement(app):
    app.session.execute(update(Product).where(Product.id > 2).values(stock=0))
    app.session.commit()


@clean(writes=True)
def bulk_update_by_key(app):
    app.session.execute(update(Product), [{"id": key, "stock": key} for key in range(1, 8)])
    app.session.commit()


@clean(writes=True)
def core_executemany(app):
    with app.engine.begin() as connection:
        connection.execute(text("UPDATE products SET stock = :n WHERE id = :id"), [{"n": 1, "id": key} for key in range(1, 7)])


@clean(writes=True)
def savepoint_for_each_row(app):
    for number in range(5):
        with app.session.begin_nested():
            app.session.add(Tag(name=f"kept {number}"))
    app.session.commit()


@clean(writes=True)
def savepoint_around_a_statement_for_each_row(app):
    for number in range(5):
        try:
            with app.session.begin_nested():
                app.session.execute(insert(Setting).values(name=f"k{number % 4}", value="1"))
        except Exception:
            continue
    app.session.commit()


@clean(writes=True)
def progress_of_one_job(app):
    job = app.session.get(Job, 1)
    for step in range(5):
        job.progress = step + 1
        app.session.commit()


@clean(writes=True)
def progress_by_statement(app):
    for step in range(5):
        app.session.execute(update(Job).where(Job.id == 1).values(progress=step))
        app.session.commit()


@clean(writes=True)
def worker_that_takes_one_job_at_a_time(app):
    while True:
        job = app.session.scalars(select(Job).where(Job.state == "waiting").limit(1).with_for_update(skip_locked=True)).first()
        if job is None:
            break
        job.state = "done"
        app.session.commit()


@clean(writes=True)
def worker_that_reads_the_owner_of_its_job(app):
    while job := app.session.scalars(select(Job).where(Job.state == "waiting").order_by(Job.id).limit(1)).first():
        job.state = f"done for {job.user}"
        app.session.commit()


@clean(writes=True)
def deletes_in_chunks(app):
    for start in range(0, 12, 4):
        app.session.execute(delete(Login).where(Login.id > start, Login.id <= start + 4))
        app.session.commit()


@clean(writes=True)
def one_statement_for_each_state(app):
    for state in ("new", "paid", "sent"):
        app.session.execute(update(Order).where(Order.status == "new", Order.number > 0).values(status=state))
        app.session.execute(update(Order).where(Order.number > 0).values(status="new"))


@clean(source="prosopite", writes=True)
def uniqueness_check_while_flushing(app):
    def check(mapper, connection, target):
        connection.execute(select(Tag.id).where(Tag.name == target.name)).first()

    event.listen(Tag, "before_insert", check)
    try:
        app.session.add_all([Tag(name=str(number)) for number in range(5)])
        app.session.commit()
    finally:
        event.remove(Tag, "before_insert", check)


@clean(writes=True)
def two_forms_saved_on_two_lines(app):
    def save(name):
        app.session.add(Tag(name=name))
        app.session.commit()

    save("first")
    save("second")
    save("third")


@clean(writes=True)
def parent_with_its_children(app):
    user = User(name="parent")
    user.posts = [Post(title=str(number), tags=[Tag(name=f"t{number}")]) for number in range(6)]
    app.session.add(user)
    app.session.commit()


@clean(writes=True)
def transfer_between_two_rows(app):
    source, target = app.session.get(Product, 1), app.session.get(Product, 2)
    source.stock -= 1
    target.stock += 1
    app.session.commit()


@clean(writes=True)
def insert_from_select(app):
    app.session.execute(insert(Badge).from_select(["name"], select(Tag.name)))
    app.session.commit()


@clean(writes=True)
def deleted_with_its_children(app):
    order = app.session.get(Order, (1, 1))
    app.session.delete(order)
    app.session.commit()
