"""A pool's numbers for OpenTelemetry, under the names of its semantic conventions (`db.client.connection.*`).

Sizes and queues are read when the numbers are collected; durations are recorded as they happen. Needs `dal[otel]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from dal._extras import require
from dal.errors import UsageError
from dal.events import Opened, Returned, Waited
from dal.pool.connections import ConnectionPool
from dal.pool.stats import PoolStats

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

__all__ = ["measure"]

_POOL = "db.client.connection.pool.name"
_STATE = "db.client.connection.state"
_PREFIX = "db.client.connection."
_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


def measure(engine: Engine, *, name: str | None = None, meter: Meter | None = None) -> Callable[[], None]:
    """Give a pool's numbers to OpenTelemetry.

    Args:
        engine: An engine whose pool is a `ConnectionPool`; of an AsyncEngine its `sync_engine`.
        name: The pool's name in the metrics; by default host, port and database.
        meter: Where to; by default the application's meter provider.

    Returns:
        A function that ends the recording of durations.

    Raises:
        UsageError: The engine has another pool.
        MissingExtra: OpenTelemetry's API is not installed.
    """
    metrics: Any = require("opentelemetry.metrics", extra="otel", purpose="measuring the pool")
    target: Any = meter or metrics.get_meter("dal")
    pool = {_POOL: name or _name(engine)}
    _pool(engine)

    def gauge(read: Callable[[PoolStats], int]) -> list[Callable[[Any], Iterable[Any]]]:
        return [lambda _: [metrics.Observation(read(_pool(engine).stats()), pool)]]

    def states(_: object) -> Iterator[Any]:
        stats = _pool(engine).stats()
        yield metrics.Observation(stats.idle, {**pool, _STATE: "idle"})
        yield metrics.Observation(stats.in_use, {**pool, _STATE: "used"})

    create = target.create_observable_up_down_counter
    create(f"{_PREFIX}count", [states], unit="{connection}", description="Connections by state")
    create(f"{_PREFIX}max", gauge(lambda stats: stats.max_size), unit="{connection}", description="Connections at most")
    create(f"{_PREFIX}idle.min", gauge(lambda stats: stats.min_size), unit="{connection}", description="Connections kept ready")
    create(f"{_PREFIX}pending_requests", gauge(lambda stats: stats.waiting), unit="{request}", description="Borrowers waiting")
    target.create_observable_counter(
        f"{_PREFIX}timeouts", gauge(lambda stats: stats.timeouts), unit="{timeout}", description="Borrows that got nothing"
    )
    return _pool(engine).observe(_durations(target, pool))


def _durations(meter: Any, pool: dict[str, str]) -> Callable[[object], None]:
    def histogram(name: str, description: str) -> Any:
        return meter.create_histogram(
            f"{_PREFIX}{name}", unit="s", description=description, explicit_bucket_boundaries_advisory=_BUCKETS
        )

    records = {
        Opened: histogram("create_time", "Time to open a connection"),
        Waited: histogram("wait_time", "Time to get a connection from the pool"),
        Returned: histogram("use_time", "Time a connection was out"),
    }

    def record(fact: object) -> None:
        found = records.get(type(fact))
        if found is not None:
            found.record(fact.seconds, pool)  # type: ignore[attr-defined]

    return record


def _pool(engine: Engine) -> ConnectionPool:
    if not isinstance(engine.pool, ConnectionPool):
        raise UsageError(
            f"the engine's pool is a {type(engine.pool).__name__}", hint="create_engine(url, poolclass=ConnectionPool)"
        )
    return engine.pool


def _name(engine: Engine) -> str:
    url = engine.url
    return f"{url.host or 'local'}:{url.port or 5432}/{url.database or ''}"
