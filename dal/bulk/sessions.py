"""What a session knows of rows that a bulk write changed behind its back: nothing, from then on."""

from __future__ import annotations

from sqlalchemy.orm import Session

from dal.bulk.target import Target

__all__ = ["expire"]


def expire(session: Session, target: Target) -> None:
    """Expire the objects of an entity in a session, so that they are read again at their next use.

    Args:
        session: The session; it has flushed.
        target: Where rows went.
    """
    if target.mapper is None:
        classes = tuple(
            mapper.class_
            for mapper in {state.mapper for state in session.identity_map.all_states()}
            if target.table in mapper.tables
        )
    else:
        # The root's class: an object of a sister class may be of the same tables.
        classes = (target.mapper.base_mapper.class_,)
    for known in list(session.identity_map.values()) if classes else ():
        if isinstance(known, classes):
            session.expire(known)
