"""Both doors, and a look that nothing is left of a run."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.pipeline.doors import DOORS


@pytest.fixture(params=DOORS)
def flow(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Pipeline or AsyncPipeline."""
    door: Callable[..., Any] = DOORS[request.param]
    return door


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    until = time.monotonic() + 10
    while (left := _left()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left


def _left() -> list[Any]:
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("dal-pipeline")]
    return [*threads, *multiprocessing.active_children()]
