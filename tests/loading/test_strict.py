"""What the query did not load is refused, with the line that would load it; "none" stays None."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, inspect, select
from sqlalchemy.orm import Session, joinedload, selectinload

from dal import AllowList, NotLoadedWarning, Repository, batched, eager, hybrid, strict, using_policy
from dal.errors import ConfigError, NotLoaded
from tests.loading.counting import expect
from tests.loading.models import Employee, Engineer, Item, Order, Profile, User, Visit


def users(session: Session, **arguments: Any) -> list[User]:
    return list(session.scalars(select(User).order_by(User.id).options(strict(**arguments))))


def test_the_message_names_the_relationship_and_the_line_to_write(session: Session) -> None:
    found = users(session)
    with expect(session, 0), pytest.raises(NotLoaded) as refused:
        found[0].orders
    assert "User.orders was not loaded by the query" in str(refused.value)
    assert "policy=eager(User.orders)" in refused.value.hint
    assert ".options(selectinload(User.orders))" in refused.value.hint
    assert isinstance(refused.value, exc.InvalidRequestError)


def test_the_hint_for_a_subclass_names_it(session: Session) -> None:
    found = session.scalars(select(Engineer).options(strict())).all()
    with pytest.raises(NotLoaded, match=r"Engineer\.tools"):
        found[0].tools


def test_not_loaded_is_not_none(session: Session) -> None:
    found = session.scalars(select(User).order_by(User.id).options(eager(User.profile), strict())).all()
    assert found[1].profile is None
    visit = session.scalars(select(Visit).where(Visit.id == 99).options(strict())).one()
    with expect(session, 0):
        assert visit.place is None


def test_a_reference_that_is_in_the_session_is_there(session: Session) -> None:
    held = users(session)
    orders = session.scalars(select(Order).options(strict())).all()
    with expect(session, 0):
        assert orders[0].user is held[0]


def test_it_goes_on_with_what_it_loads(session: Session) -> None:
    found = session.scalars(select(User).options(eager(User.orders), strict())).all()
    with pytest.raises(NotLoaded, match=r"Order\.items"):
        found[0].orders[0].items


def test_columns_are_let_pass_unless_asked(session: Session) -> None:
    with expect(session, 2):
        assert users(session)[0].bio == "bio 1"
    session.expunge_all()
    found = users(session, columns=True)
    with expect(session, 0), pytest.raises(NotLoaded, match=r"(?s)User\.bio.*deferred column.*undefer\(User\.bio\)"):
        found[0].bio
    session.expire_all()
    with expect(session, 0), pytest.raises(NotLoaded, match=r"(?s)User\..*expire_on_commit=False"):
        found[0].name


def test_columns_of_a_sub_table(session: Session) -> None:
    found = session.scalars(select(Employee).order_by(Employee.id).options(strict(columns=True))).all()
    with expect(session, 0), pytest.raises(NotLoaded, match=r"Engineer\.language"):
        [each.language for each in found if isinstance(each, Engineer)]


def test_to_many_only(session: Session) -> None:
    found = users(session, only="to_many")
    with expect(session, 1):
        assert found[0].profile is not None
    for attribute in ("orders", "tags"):
        with pytest.raises(NotLoaded):
            getattr(found[0], attribute)


def test_n_plus_one_only(session: Session) -> None:
    """One that came alone loads what it wants; where others miss the same, it is refused, also for the first."""
    alone = session.scalars(select(User).where(User.id == 3).options(strict(only="n_plus_one"))).one()
    with expect(session, 1):
        assert len(alone.orders) == 3
    with expect(session, 0), pytest.raises(NotLoaded):
        alone.orders[0].items
    session.expunge_all()
    with expect(session, 1):
        found = users(session, only="n_plus_one")
        with pytest.raises(NotLoaded):
            found[0].orders


def test_n_plus_one_only_of_references(session: Session) -> None:
    items = session.scalars(select(Item).options(strict(only="n_plus_one"))).all()
    with expect(session, 0), pytest.raises(NotLoaded, match=r"Item\.product"):
        items[0].product


def test_n_plus_one_only_of_columns(session: Session) -> None:
    found = users(session, only="n_plus_one", columns=True)
    with pytest.raises(NotLoaded):
        found[0].bio
    session.expunge_all()
    alone = session.scalars(select(User).where(User.id == 3).options(strict(only="n_plus_one", columns=True))).one()
    assert alone.bio == "bio 3"


def test_warn(session: Session) -> None:
    found = users(session, action="warn")
    with (
        expect(session, 1),
        pytest.warns(NotLoadedWarning, match=r"User\.orders was not loaded.*policy=eager\(User\.orders\)") as seen,
    ):
        assert len(found[0].orders) == 1
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(found[0].orders) == 1


def test_what_is_loaded_by_hand_is_there(session: Session) -> None:
    found = users(session)
    with expect(session, 1):
        Repository(session, User).load(found, User.orders)
    assert sum(len(user.orders) for user in found) == 9
    with pytest.raises(NotLoaded):
        found[0].tags


def test_the_statement_s_own_options_load(session: Session) -> None:
    statement = select(User).options(joinedload(User.profile), selectinload(User.orders).selectinload(Order.items), strict())
    found = session.scalars(statement).all()
    with expect(session, 0):
        [(user.profile, [order.items for order in user.orders]) for user in found]
    with pytest.raises(NotLoaded):
        found[0].tags


def test_refresh_is_no_touch(session: Session) -> None:
    found = users(session, columns=True)
    session.expire_all()
    session.refresh(found[0])
    assert found[0].name == "u1"
    session.refresh(found[0], ["orders"])
    assert len(found[0].orders) == 1


def test_work_of_the_session_is_no_touch(session: Session) -> None:
    found = users(session, columns=True)
    found[3].name = "changed"
    new = Order(id=500, total=1, user=found[3])
    session.add(new)
    session.flush()
    assert new.user_id == 4
    session.delete(new)
    session.delete(found[3])
    session.flush()
    session.rollback()


def test_backrefs_are_no_touch(session: Session) -> None:
    found = users(session)
    with expect(session, 0), session.no_autoflush:
        Profile(id=500, motto="new").user = found[1]
        Order(id=500, total=1).user = found[1]


def test_setting_is_no_touch(session: Session) -> None:
    found = users(session, columns=True)
    with session.no_autoflush:
        found[0].bio = "new"
        found[1].bio = None
    assert inspect(found[0]).modified


def test_hasattr_and_inspect(session: Session) -> None:
    found = users(session)
    assert "orders" in inspect(found[0]).unloaded
    with pytest.raises(NotLoaded):
        hasattr(found[0], "orders")


def test_a_block(session: Session) -> None:
    with using_policy(strict()):
        found = session.scalars(select(User)).all()
    # The policy stays with the objects, also behind the block.
    with pytest.raises(NotLoaded):
        found[0].orders


def test_a_query_in_a_strict_block_may_be_batched(session: Session) -> None:
    with using_policy(strict()):
        found = session.scalars(select(User).options(hybrid(eager=[User.orders], otherwise=batched()))).all()
        with expect(session, 1):
            [user.tags for user in found]


def test_allow(session: Session) -> None:
    legacy = AllowList(["User.orders", "User.tags", "Employee.boss"])
    found = users(session, allow=legacy)
    assert len(found[0].orders) == 1
    with pytest.raises(NotLoaded):
        found[0].profile
    assert legacy.unused() == {"User.tags", "Employee.boss"}
    engineers = session.scalars(select(Engineer).options(strict(allow=legacy))).all()
    assert engineers[0].boss is not None
    assert legacy.unused() == {"User.tags"}
    assert "User.tags" in legacy
    assert len(legacy) == 3


def test_an_allow_list_only_shrinks(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "allowed.txt"
    file.write_text("# what is left of the old pages\nUser.orders\n\nUser.tags\nUser.profile\n")
    legacy = AllowList.from_file(file)
    found = users(session, allow=legacy)
    found[0].orders
    with pytest.raises(NotLoaded):
        session.scalars(select(Item).options(strict(allow=legacy))).all()[0].product
    assert legacy.shrink(file) == 2
    assert file.read_text() == "# what is left of the old pages\nUser.orders\n\n"
    assert AllowList.from_file(file).shrink(file) == 1
    assert len(AllowList.from_file(file)) == 0


def test_an_allow_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        AllowList.from_file(tmp_path / "none.txt")
    assert refused.value.hint == "create it, it may be empty"
