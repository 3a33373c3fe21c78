"""Who asks: `client=` of a call, or `using_client(...)` around a request.

A client is whatever tells visitors apart: a session id, a user id, a connection. It is only compared, never stored elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from dal.errors import UsageError

__all__ = ["client_of", "using_client"]

_here: ContextVar[Hashable | None] = ContextVar("dal_client", default=None)


@contextmanager
def using_client(client: Hashable) -> Iterator[None]:
    """Say who asks, for all pagers used in a block: a request, a connection, a job.

    Args:
        client: What tells visitors apart.

    Raises:
        UsageError: It cannot be compared, such as a list.

    Example:
        >>> from dal import using_client
        >>> with using_client("visitor 7"):
        ...     pass  # serve a request
    """
    token = _here.set(_checked(client))
    try:
        yield
    finally:
        _here.reset(token)


def client_of(given: Hashable | None) -> Hashable | None:
    """Return who asks: who a call names, else who the block does.

    Raises:
        UsageError: It cannot be compared.
    """
    return _here.get() if given is None else _checked(given)


def _checked(client: Hashable) -> Hashable:
    try:
        hash(client)
    except TypeError as error:
        raise UsageError(
            f"client={client!r} cannot tell visitors apart: a {type(client).__name__} cannot be compared by hash",
            hint="give a session id or user id: client=request.session_id",
        ) from error
    return client
