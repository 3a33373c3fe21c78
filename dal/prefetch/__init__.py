"""What will be asked next, loaded before it is asked.

`sequential()`, `predictive()`, `temporal()` and `spatial()` are strategies for `db.pager(..., prefetch=...)`; one gate keeps
what they send within a budget, and `db.prefetch` tells what came of it.
"""

from dal.prefetch.clients import using_client
from dal.prefetch.decisions import Decision
from dal.prefetch.executors import Tasks, Threads
from dal.prefetch.opening import open_prefetcher
from dal.prefetch.pager import Pager
from dal.prefetch.predictive import Predictive, predictive
from dal.prefetch.prefetcher import Prefetcher
from dal.prefetch.requests import Strategy
from dal.prefetch.sequential import Sequential, sequential
from dal.prefetch.spatial import Spatial, spatial
from dal.prefetch.stats import PrefetchStats, StrategyStats
from dal.prefetch.temporal import Temporal, temporal

__all__ = [
    "Decision",
    "Pager",
    "Predictive",
    "PrefetchStats",
    "Prefetcher",
    "Sequential",
    "Spatial",
    "Strategy",
    "StrategyStats",
    "Tasks",
    "Temporal",
    "Threads",
    "open_prefetcher",
    "predictive",
    "sequential",
    "spatial",
    "temporal",
    "using_client",
]
