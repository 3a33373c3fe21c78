"""Columns loaded one object at a time, and the same code written well."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators
from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import defer, load_only, selectin_polymorphic, undefer, undefer_group, with_polymorphic

from tests.detection.scenarios.models import Company, Employee, Job, Manager, Post, Team, User
from tests.detection.scenarios.table import COLUMN, clean, dirty


@dirty(COLUMN, "User.bio", source="zeal, queryspy")
def deferred_column(app):
    return [user.bio for user in app.session.scalars(select(User))]  # HERE


@dirty(COLUMN, "User")
def deferred_group(app):
    return [(user.photo, user.video) for user in app.session.scalars(select(User))]  # HERE


@dirty(COLUMN, "User.email", source="zeal")
def deferred_by_option(app):
    for user in app.session.scalars(select(User).options(defer(User.email))):
        user.email  # HERE


@dirty(COLUMN, "User.name", source="zeal")
def load_only_too_little(app):
    for user in app.session.scalars(select(User).options(load_only(User.id))):
        user.name  # HERE


@dirty(COLUMN, "Post.comment_count")
def deferred_column_property(app):
    return sum(post.comment_count for post in app.session.scalars(select(Post)))  # HERE


@dirty(COLUMN, "Manager.bonus")
def column_of_a_sub_table(app):
    return [employee.bonus for employee in app.session.scalars(select(Employee))]  # HERE


@dirty(COLUMN, "User", source="queryspy")
def expired_by_a_commit(app):
    users = app.session.scalars(select(User)).all()
    app.session.commit()
    for user in users:
        user.name  # HERE


@dirty(COLUMN, "User")
def expired_by_hand(app):
    users = app.session.scalars(select(User)).all()
    app.session.expire_all()
    return {user.id: user.name for user in users}  # HERE


@dirty(COLUMN, "User", writes=True)
def new_objects_read_after_the_commit(app):
    users = [User(name=str(number)) for number in range(5)]
    app.session.add_all(users)
    app.session.commit()
    return [user.id for user in users]  # HERE


@dirty(COLUMN, "User")
def refresh_in_a_loop(app):
    for user in app.session.scalars(select(User)).all():
        app.session.refresh(user)  # HERE


@dirty(COLUMN, "Job.progress")
def refresh_of_one_column_in_a_loop(app):
    for job in app.session.scalars(select(Job)).all():
        app.session.refresh(job, ["progress"])  # HERE


@dirty(COLUMN, "User")
def expired_by_a_rollback(app):
    users = app.session.scalars(select(User)).all()
    app.session.rollback()
    return sorted(user.name for user in users)  # HERE


@dirty(COLUMN, "User.bio")
def deferred_of_a_related_object(app):
    from sqlalchemy.orm import selectinload

    for company in app.session.scalars(select(Company).options(selectinload(Company.users))):
        for user in company.users:
            user.bio  # HERE


@clean(source="queryspy")
def undeferred(app):
    return [user.bio for user in app.session.scalars(select(User).options(undefer(User.bio)))]


@clean()
def undeferred_group(app):
    return [(user.photo, user.video) for user in app.session.scalars(select(User).options(undefer_group("media")))]


@clean(source="zeal")
def deferred_and_left_alone(app):
    return [user.name for user in app.session.scalars(select(User).options(defer(User.email)))]


@clean(source="zeal")
def deferred_of_one_object(app):
    user = app.session.get(User, 1)
    return user.bio, user.photo, user.video


@clean()
def sub_tables_in_the_same_query(app):
    everyone = with_polymorphic(Employee, [Manager])
    return [employee.bonus for employee in app.session.scalars(select(everyone))]


@clean()
def sub_tables_in_a_second_query(app):
    stmt = select(Employee).options(selectin_polymorphic(Employee, [Manager]))
    return [employee.bonus for employee in app.session.scalars(stmt)]


@clean(source="queryspy")
def one_refresh(app):
    user = app.session.get(User, 1)
    app.session.refresh(user)
    return user.name


@clean()
def refresh_until_a_job_is_done(app):
    job = app.session.get(Job, 1)
    for _ in range(5):
        app.session.refresh(job)
        if job.state == "done":
            break
    return job.state


@clean(writes=True)
def refresh_after_a_write(app):
    user = app.session.get(User, 1)
    user.name = "new"
    app.session.commit()
    app.session.refresh(user)
    return user.name


@clean(writes=True)
def read_again_after_each_of_two_commits(app):
    user = app.session.get(User, 1)
    user.name = "a"
    app.session.commit()
    first = user.name
    user.name = "b"
    app.session.commit()
    return first, user.name


@clean(writes=True)
def create_one_and_return_it(app):
    user = User(name="fresh")
    app.session.add(user)
    app.session.commit()
    app.session.refresh(user)
    return {"id": user.id, "name": user.name}


@clean(writes=True)
def loaded_again_at_once_after_a_commit(app):
    app.session.scalars(select(User)).all()
    app.session.commit()
    return [user.name for user in app.session.scalars(select(User))]


@clean(writes=True)
def flushed_but_not_committed(app):
    users = [User(name=str(number)) for number in range(5)]
    app.session.add_all(users)
    app.session.flush()
    return [user.id for user in users]


@clean()
def eager_team_after_expiry(app):
    team = app.session.get(Team, 1)
    app.session.expire(team)
    return team.name, len(team.players), team.coach.name


@clean()
def populate_existing(app):
    users = app.session.scalars(select(User)).all()
    app.session.commit()
    app.session.scalars(select(User).execution_options(populate_existing=True)).all()
    return [user.name for user in users]
