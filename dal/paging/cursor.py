"""Cursors: positions as opaque, URL-safe texts that only this application can have made.

    base64url( version | key id | signature | payload )       payload: query, owner, expiry, side, key values

The signature is HMAC-SHA256, cut to 16 bytes. A cursor is checked as a whole before anything is sent: made with a key of
ours, not expired, for this very order and these very filters, and for this owner where one was named. It is signed, not
encrypted: who holds it can read the key values of one row.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from base64 import urlsafe_b64encode
from functools import cache, lru_cache
from typing import Any

from dal._cursors import CursorConfig
from dal.errors import CursorError, UsageError
from dal.paging.keyset import Position
from dal.paging.values import packed, unpacked

__all__ = ["Signer", "signer_of"]

_VERSION = 1
_ID, _MAC = 4, 16
_HEAD = 1 + _ID + _MAC
_LONGEST = 8192
_TO_STANDARD = str.maketrans("-_", "+/")

_log = logging.getLogger("dal.paging")


class Signer:
    """Make and check cursors.

    Args:
        config: The keys, and how long a cursor is good for.

    Example:
        >>> signer = Signer(CursorConfig(keys=["a secret of 16 bytes or more"]))
        >>> cursor = signer.sign(Position((7, "Ada")), query=b"q")
        >>> signer.verify(cursor, query=b"q")
        Position(values=(7, 'Ada'), side=0)
    """

    def __init__(self, config: CursorConfig) -> None:
        self._expires = config.expires
        self._keys = {hashlib.sha256(b"dal cursor key\0" + key).digest()[:_ID]: key for key in config.keys}
        self._first = next(iter(self._keys))

    def sign(self, position: Position, *, query: bytes, owner: str | None = None) -> str:
        """Return the cursor of a position.

        Args:
            position: The position.
            query: The fingerprint of the query.
            owner: Who alone may use it: a tenant, a user.

        Raises:
            UsageError: A key value is of a type that cannot be kept exactly, or too long.
        """
        key = self._keys[self._first]
        try:
            values = [packed(value) for value in position.values]
        except TypeError as error:
            raise UsageError(
                f"the order cannot be kept in a cursor: {error}", hint="order by it as text or number: cast(..., String)"
            ) from error
        expires = 0 if self._expires is None else int(time.time() + self._expires) + 1
        content = [_short(query), _owner(key, owner), expires, position.side, values]
        payload = json.dumps(content, separators=(",", ":")).encode()
        head = bytes((_VERSION,)) + self._first
        cursor = urlsafe_b64encode(head + _mac(key, head, payload) + payload).rstrip(b"=").decode()
        if len(cursor) > _LONGEST:
            raise UsageError(
                f"the order's values are too long for a cursor: it would have {len(cursor):,} characters",
                hint="order by their beginning: func.substr(Article.body, 1, 100)",
            )
        return cursor

    def verify(self, cursor: str, *, query: bytes, owner: str | None = None) -> Position:
        """Return the position of a cursor.

        Args:
            cursor: What `sign` made.
            query: The fingerprint of the query it is used for.
            owner: Who uses it.

        Raises:
            CursorError: It was not made by this application, for this query and owner, or it has expired.
        """
        raw = _bytes(cursor)
        identity = raw[1 : 1 + _ID]
        key = self._keys.get(identity)
        if key is None:
            raise CursorError(
                "the cursor was signed with a key that is not among ours",
                hint="answer 400; if it is one of yours: give all processes the same CursorConfig(keys=[...]), the old key too",
            )
        payload = raw[_HEAD:]
        if not hmac.compare_digest(_mac(key, raw[: 1 + _ID], payload), raw[1 + _ID : _HEAD]):
            raise CursorError("the cursor was changed after it was made")
        made_for, owned, expires, side, values = json.loads(payload)
        if expires and time.time() >= expires:
            raise CursorError("the cursor has expired", hint="answer 400, and start over at the first page")
        if owned != _owner(key, owner):
            raise CursorError("the cursor was made for another owner")
        if made_for != _short(query):
            raise CursorError(
                "the cursor belongs to another query: its order or a filter differs",
                hint="answer 400; send the filters of the first page with each page, and none that changes by itself, "
                "such as datetime.now()",
            )
        return Position(tuple([unpacked(value) for value in values]), side)


def signer_of(config: CursorConfig | None) -> Signer:
    """Return the signer of a configuration; without keys, the one of this process's development key."""
    if config is None or not config.keys:
        return _development(os.getpid(), None if config is None else config.expires)
    return _signer(config)


@lru_cache(maxsize=64)
def _signer(config: CursorConfig) -> Signer:
    return Signer(config)


@lru_cache(maxsize=64)
def _development(process: int, expires: float | None) -> Signer:
    return Signer(CursorConfig(keys=[_development_key(process)], expires=expires))


@cache
def _development_key(_: int) -> bytes:
    _log.warning(
        "cursors are signed with a key made for this process alone: after a restart, and in other processes, they are not "
        "understood. Configure one: Database(url, cursors=CursorConfig(keys=[...]))"
    )
    return secrets.token_bytes(32)


def _bytes(cursor: Any) -> bytes:
    if not isinstance(cursor, str):
        raise CursorError(f"a cursor is a text, not {type(cursor).__name__}")
    if len(cursor) > _LONGEST:
        raise CursorError(f"this is no cursor: it has {len(cursor):,} characters")
    try:
        standard = cursor.translate(_TO_STANDARD)
        raw = binascii.a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        raise CursorError("this is no cursor") from None
    # Base64 has several texts for one value; only the one that was made counts.
    if len(raw) <= _HEAD or raw[0] != _VERSION or urlsafe_b64encode(raw).rstrip(b"=") != cursor.encode():
        raise CursorError("this is no cursor, or one that was cut short")
    return raw


def _mac(key: bytes, head: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, head + payload, "sha256")[:_MAC]


def _short(query: bytes) -> str:
    return binascii.b2a_base64(query, newline=False).decode()


def _owner(key: bytes, owner: str | None) -> str:
    if owner is None:
        return ""
    digest = hmac.digest(key, b"dal cursor owner\0" + owner.encode(), "sha256")
    return binascii.b2a_base64(digest[:9], newline=False).decode()
