"""A real PostgreSQL from PyPI, run as a child of the processes that use it.

Use it for development, tests, demonstrations and small installations. Not where a server outlives its users, listens
to a network or needs contrib extensions: install PostgreSQL there and give its URL.
"""

from __future__ import annotations

from dal.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
