"""Loading on demand under asyncio: say what to await, and refuse two tasks on one session.

A plain read of an attribute that is not loaded cannot wait for a database in a coroutine; SQLAlchemy then fails with
MissingGreenlet, far from the line that matters. Here it fails at the attribute, with the line to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from sqlalchemy.orm import Session

from dal.errors import NotAwaited, UsageError
from dal.loading import _internals
from dal.loading.touch import Touch

__all__ = ["alone", "one_at_a_time"]

_loading: WeakKeyDictionary[Session, tuple[object, str]] = WeakKeyDictionary()


@contextmanager
def one_at_a_time(touch: Touch) -> Iterator[None]:
    """Let one task at a time load through an asyncio session.

    Args:
        touch: What is loaded.

    Raises:
        NotAwaited: The read was not awaited.
        UsageError: Another task is loading through the same session.
    """
    if not _internals.is_async(touch.session, touch.mapper):
        yield
        return
    if not _internals.in_greenlet():
        raise NotAwaited(
            f"{touch.name} is not loaded, and reading it here would have to wait for the database", hint=_what_to_await(touch)
        )
    with alone(touch.session, touch.name):
        yield


@contextmanager
def alone(session: Session, doing: str) -> Iterator[None]:
    """Keep other tasks off an asyncio session for a block.

    Args:
        session: The sync session behind it.
        doing: What the block does, for the error.

    Raises:
        UsageError: Another task is inside such a block of the same session.
    """
    task = _internals.current_task()
    other, busy = _loading.get(session, (task, ""))
    if other is not task:
        raise UsageError(
            f"two tasks use one AsyncSession at the same time: {busy} and {doing}",
            hint="await one after the other, or give each task a session; "
            "await users.load(found, User.orders) fills an attribute of many objects at once",
        )
    outermost = session not in _loading
    if outermost:
        _loading[session] = (task, doing)
    try:
        yield
    finally:
        if outermost:
            _loading.pop(session, None)


def _what_to_await(touch: Touch) -> str:
    if touch.kind == "expired":
        return "await session.refresh(object), or keep it after a commit with expire_on_commit=False"
    return (
        f"await users.load(found, {touch.name}) before, or await object.awaitable_attrs.{touch.key}, "
        f"or load it with the query: policy=eager({touch.name})"
    )
