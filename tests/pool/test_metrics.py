"""The pool's numbers as OpenTelemetry sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from dal.errors import PoolTimeout, UsageError
from dal.pool.metrics import measure

sdk = pytest.importorskip("opentelemetry.sdk.metrics")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")


def points(reader: Any) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    found: dict[str, list[Any]] = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = list(metric.data.data_points)
    return found


def test_names_and_values(engine: Callable[..., Engine]) -> None:
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider(metric_readers=[reader])
    made = engine(min_pool_size=1, max_pool_size=1, connection_timeout="50ms")
    made.pool.warm_up("5s")  # type: ignore[attr-defined]
    stop = measure(made, name="main", meter=provider.get_meter("test"))
    with made.connect():
        with pytest.raises(PoolTimeout):
            made.connect()
        seen = points(reader)
        states = {point.attributes["db.client.connection.state"]: point.value for point in seen["db.client.connection.count"]}
        assert states == {"idle": 0, "used": 1}
    with made.connect():
        pass
    made.dispose()
    with made.connect():
        pass
    seen = points(reader)
    assert seen["db.client.connection.max"][0].value == 1
    assert seen["db.client.connection.idle.min"][0].value == 1
    assert seen["db.client.connection.pending_requests"][0].value == 0
    assert seen["db.client.connection.use_time"][0].count == 3
    assert seen["db.client.connection.wait_time"][0].count == 3
    assert seen["db.client.connection.create_time"][0].count == 1
    assert {point.attributes["db.client.connection.pool.name"] for metric in seen.values() for point in metric} == {"main"}
    stop()
    with made.connect():
        pass
    assert points(reader)["db.client.connection.use_time"][0].count == 3
    provider.shutdown()


def test_another_pool_is_refused() -> None:
    with pytest.raises(UsageError, match="poolclass"):
        measure(create_engine("sqlite://"))
