"""A table cut in parts, read by several workers at the same time, in one snapshot for all."""

from dal.parallel.parallel import Parallel
from dal.parallel.part import Part, Progress
from dal.parallel.results import ParallelResults

__all__ = ["Parallel", "ParallelResults", "Part", "Progress"]
