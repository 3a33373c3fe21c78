"""Reading changes: inserts, updates and deletes as they are committed, typed by the mapping, and what is made of them.

Not for what a query can answer: a stream tells what happened, in order, and keeps the server's log until it was read.
"""

from dal.streams.aggregates import (
    AggregateFunction,
    avg_of,
    collect_of,
    count_of,
    distinct_of,
    first_of,
    last_of,
    max_of,
    min_of,
    sum_of,
)
from dal.streams.alerts import Alert, Anomaly, Threshold
from dal.streams.change import UNCHANGED, Change, Kind
from dal.streams.changes import Changes
from dal.streams.flow import Flow
from dal.streams.loop import FlowStats
from dal.streams.position import Position
from dal.streams.registry import Streams, streams_of
from dal.streams.sinks import Dashboard, Invalidations, JsonLines, RedisStream, Webhook
from dal.streams.stream import Stream

__all__ = [
    "UNCHANGED",
    "AggregateFunction",
    "Alert",
    "Anomaly",
    "Change",
    "Changes",
    "Dashboard",
    "Flow",
    "FlowStats",
    "Invalidations",
    "JsonLines",
    "Kind",
    "Position",
    "RedisStream",
    "Stream",
    "Streams",
    "Threshold",
    "Webhook",
    "avg_of",
    "collect_of",
    "count_of",
    "distinct_of",
    "first_of",
    "last_of",
    "max_of",
    "min_of",
    "streams_of",
    "sum_of",
]
