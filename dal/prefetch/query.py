"""The statement of a pager: checked once, planned once for each set of values."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate

from dal.errors import UsageError
from dal.loading import Policy, apply_policy
from dal.paging import PagePlan, dialect_of, plan
from dal.prefetch import _internals
from dal.prefetch.bounded import Bounded
from dal.prefetch.parameters import Arguments, names_in, with_values

__all__ = ["Query"]

T = TypeVar("T")

_PLANS = 256
_VOLATILE = frozenset(
    {
        "clock_timestamp", "current_date", "current_time", "current_timestamp", "current_user", "gen_random_uuid", "localtime",
        "localtimestamp", "nextval", "now", "rand", "random", "session_user", "setval", "statement_timestamp", "sysdate",
        "timeofday", "transaction_timestamp", "txid_current", "user", "uuid_generate_v4",
    }
)  # fmt: skip


class Query(Generic[T]):
    """A SELECT in an order, with all its loading policies in it.

    Args:
        session: A session of the database; nothing is sent.
        statement: The SELECT.
        order_by: As for a page.
        policy: As for a query.
        key: What tells its rows apart, where that cannot be seen.

    Raises:
        UsageError: It cannot be paged, or its answers cannot be kept.
    """

    def __init__(
        self,
        session: Session,
        statement: Select[T],
        order_by: Any,
        policy: Policy | str | None,
        key: Sequence[ColumnElement[Any]] | None,
    ) -> None:
        self._dialect = dialect_of(session, statement)
        self._row_key = key
        # What is loaded must not depend on the block or thread that happens to load it.
        self.planned = plan(apply_policy(statement, session, policy), order_by=order_by, dialect=self._dialect, key=key)
        _refuse_unkept(statement)
        parts = [] if order_by is None else order_by if isinstance(order_by, (list, tuple)) else [order_by]
        self.select: Select[T] = self.planned.select.order_by(*parts)
        self.names = names_in(self.select)
        self.name = ", ".join(str(each["name"]) for each in statement.column_descriptions)
        self._plans: Bounded[Arguments, PagePlan[T]] = Bounded(_PLANS)
        self._lock = threading.Lock()

    def plan(self, arguments: Arguments) -> PagePlan[T]:
        """Return the plan for the values of the parameters."""
        if not arguments:
            return self.planned
        with self._lock:
            return self._plans.get_or_make(arguments, lambda: self._plan(arguments))

    def bound(self, arguments: Arguments) -> Select[T]:
        """Return the statement with the values of its parameters in it."""
        return with_values(self.select, dict(arguments)) if arguments else self.select

    def refuse_foreign(self, columns: Sequence[InstrumentedAttribute[Any]]) -> None:
        """Refuse columns of tables that the statement does not read.

        Raises:
            UsageError: There is one.
        """
        froms = self.select.get_final_froms()
        for column in columns:
            table = column.property.columns[0].table
            if not any(each.is_derived_from(table) for each in froms):
                raise UsageError(
                    f"spatial() names {column}, and the statement reads {self.name}", hint=f"name two columns of {self.name}"
                )

    def describe(self, arguments: Arguments) -> str:
        """Tell what is selected, in words."""
        told = ", ".join(f"{name}={value!r}" for name, value in arguments)
        return f"{self.name} with {told}" if told else self.name

    def _plan(self, arguments: Arguments) -> PagePlan[T]:
        return plan(self.bound(arguments), dialect=self._dialect, key=self._row_key)


def _refuse_unkept(statement: Select[Any]) -> None:
    if _internals.locks(statement):
        raise UsageError(
            "a pager reads in transactions of its own, which end before the caller sees a row: FOR UPDATE would lock nothing",
            hint="leave with_for_update() out; read rows to be changed with a repository, in the transaction that changes them",
        )
    for element in iterate(statement):
        name = str(getattr(element, "name", "")).lower()
        if isinstance(element, FunctionElement) and name in _VOLATILE:
            raise UsageError(
                f"{name}() in a pager's statement gives another answer each time, so its pages cannot be kept",
                hint='give the value at each call: bindparam("moment") in the statement, values={"moment": ...}',
            )
