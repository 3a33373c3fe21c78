"""Breaking off the statement that a driver's connection is at, from outside of whoever waits for it.

Whoever owns the connection must not hand it on before this is done: the next statement on it would be broken off instead.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

__all__ = ["interrupt"]

_tasks: set[asyncio.Task[None]] = set()


def interrupt(driver: Any) -> asyncio.Task[None] | None:
    """Ask the server to end what a connection is at; a driver that knows no way to is left alone.

    Args:
        driver: The driver's connection; an asyncio driver's from its event loop, another one from any thread.

    Returns:
        With an asyncio driver, the task that does it.
    """
    cancel = getattr(driver, "cancel_safe", None) or getattr(driver, "cancel", None)
    if inspect.iscoroutinefunction(cancel):
        task = asyncio.get_running_loop().create_task(_quietly(cancel()), name="dal-interrupt")
        # The loop itself does not keep its tasks.
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        return task
    if cancel is not None:
        with suppress(Exception):
            cancel()
    return None


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(Exception):
        await work
