"""The repository: reads and writes of one entity over the application's own Session."""

from dal.repository.explain import Explanation, PlannedStatement
from dal.repository.repository import Repository
from dal.repository.types import Attribute, Criterion, Filter, Lock, Order, Path, Values

__all__ = [
    "Attribute",
    "Criterion",
    "Explanation",
    "Filter",
    "Lock",
    "Order",
    "Path",
    "PlannedStatement",
    "Repository",
    "Values",
]
