"""Consumers in a process of its own, to be killed: `python -m tests.streams.consumer URL [FILE]`."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

from dal import BulkWriter, Change, Database, count_of
from tests.streams.conftest import POOL
from tests.streams.models import Counted, Order, Seen


def seen(change: Change) -> dict[str, Any]:
    """A row that no upsert can write twice: the same change again would be a row more."""
    return {"id": uuid.uuid4(), "order_id": change.key, "kind": change.kind}


def main(url: str, path: str = "") -> None:
    """Run two flows; with a file also a loop, else until SIGTERM."""
    with Database(url, pool=POOL) as db:
        flow = db.changes(Order, name="seen").map(seen).to(BulkWriter(db, Seen))
        counts = db.changes(Order, name="counted").window(
            seconds=1, lateness=0.5, by={"shop": "shop"}, aggregate={"orders": count_of()}
        )
        counts.map(lambda row: {**row, "id": uuid.uuid4()}).to(BulkWriter(db, Counted))
        if not path:
            flow.run()
            return
        with Path(path).open("a") as file:
            for change in db.changes(Order, name="loop"):
                file.write(f"{change.position} {change.kind} {change.key}\n")
                file.flush()
                change.ack()


if __name__ == "__main__":
    main(*sys.argv[1:])
