"""Whether a pool lies idle enough for a prefetch: one connection that nobody needs, and one more for a demand."""

from __future__ import annotations

from sqlalchemy.pool import Pool, QueuePool

from dal.pool import ConnectionPool

__all__ = ["shortage"]


def shortage(pool: Pool) -> str:
    """Tell why a pool has no connection to spare.

    Args:
        pool: An engine's pool.

    Returns:
        The reason, or "" when it has one.
    """
    if not isinstance(pool, (ConnectionPool, QueuePool)):
        return f"a {type(pool).__name__} does not tell what lies idle"
    spare = pool.spare() if isinstance(pool, ConnectionPool) else pool.checkedin() - 1
    return "" if spare > 0 else "fewer than two connections of the pool lie idle"
