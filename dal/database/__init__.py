"""The one object that owns an engine, its pool and its sessions: `Database`, and what it is made of."""

from dal.database.database import Database

__all__ = ["Database"]
