"""Which cursors a session makes: those of a block, of the session's `info`, or the development key's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.orm import Session

from dal._cursors import INFO_KEY, CursorConfig
from dal.errors import UsageError
from dal.paging.cursor import Signer, signer_of

__all__ = ["Cursors", "checked_owner", "cursors_of", "using_cursors"]


@dataclass(frozen=True)
class Cursors:
    """How cursors are made and checked.

    Args:
        signer: The keys.
        owner: Who alone may use them.
    """

    signer: Signer
    owner: str | None = None


_block: ContextVar[tuple[CursorConfig | None, str | None]] = ContextVar("dal_cursors", default=(None, None))


@contextmanager
def using_cursors(config: CursorConfig | None = None, *, owner: str | None = None) -> Iterator[None]:
    """Sign and check cursors in a block by other settings, or for an owner.

    Args:
        config: The keys; by default those in force.
        owner: Who alone may use the cursors of this block: a tenant, a user. By default the one in force.

    Example:
        >>> with using_cursors(owner="tenant 7"):
        ...     pass  # serve a request of this tenant
    """
    outer, outer_owner = _block.get()
    token = _block.set((outer if config is None else config, outer_owner if owner is None else checked_owner(owner)))
    try:
        yield
    finally:
        _block.reset(token)


def cursors_of(session: Session, owner: str | None = None) -> Cursors:
    """Return how a session's cursors are made.

    Args:
        session: The session.
        owner: Who alone may use them; by default the owner of the block.

    Raises:
        UsageError: The owner is no text.
    """
    config, outer = _block.get()
    if config is None:
        config = session.info.get(INFO_KEY)
    return Cursors(signer_of(config), outer if owner is None else checked_owner(owner))


def checked_owner(owner: object) -> str:
    """Return an owner.

    Raises:
        UsageError: It is no text, or an empty one.
    """
    if not isinstance(owner, str) or not owner:
        raise UsageError(f"the owner of a cursor is a text, not {owner!r}", hint='write owner=f"tenant {tenant.id}"')
    return owner
