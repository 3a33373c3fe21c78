"""Entries as bytes for another process: typed, versioned, with a checksum, and never pickle.

Nothing in the bytes is run or looked up: a class is only found when this process has kept objects of it before, with the same
columns of the same types. Whatever cannot be read in full is no entry.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import hashlib
import ipaddress
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import msgspec

from dal.cache.frozen import Frozen, Many, Node, Opaque, Pairs, Ref
from dal.cache.plans import Plan, plan_by_name
from dal.cache.snapshot import Snapshot

__all__ = ["Decoded", "Unencodable", "decode", "encode", "intact", "key_name"]

_MAGIC = b"dal\x01"
_DIGEST = 16
_HEAD = len(_MAGIC) + _DIGEST
_KINDS: dict[Any, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_KIND_OF = {name: kind for kind, name in _KINDS.items()}
_NATIVE = frozenset({type(None), bool, float, str, bytes})
_ADDRESSES: dict[str, Callable[[str], Any]] = {
    kind.__name__: kind
    for kind in (
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
    )
}
_enums: dict[str, type[enum.Enum]] = {}

Decoded = tuple[Frozen, frozenset[str], Snapshot]


class Unencodable(Exception):
    """There is a value that has no encoding; it stays in this process."""


def key_name(key: Any) -> str:
    """Return a key as a name that is the same in every process.

    Args:
        key: A text, or a tuple of plain values.

    Returns:
        32 hexadecimal digits.

    Raises:
        Unencodable: There is something else in it.
    """
    return hashlib.blake2b(_packed(_value(key)), digest_size=16).hexdigest()


def encode(name: str, frozen: Frozen, tables: frozenset[str], snapshot: Snapshot) -> bytes:
    """Turn an entry into bytes.

    Args:
        name: What it is kept under; the bytes are good for nothing else.
        frozen: The value.
        tables: What it was read from.
        snapshot: What it was read in.

    Returns:
        The bytes.

    Raises:
        Unencodable: There is a value that has no encoding.
    """
    plans: dict[Plan, int] = {}
    nodes = []
    for node in frozen.nodes:
        at = plans.setdefault(node.plan, len(plans))
        _, primary_key, *token = node.identity
        nodes.append((at, _each(primary_key), _value(token[0] if token else None), _each(node.values), node.links))
    known = [
        (plan.name, plan.columns, [each.key for each in plan.relations], sorted(plan.opaque), plan.fingerprint)
        for plan in plans
    ]
    body = _packed((sorted(tables), snapshot.text, known, nodes, _value(frozen.root)))
    return _MAGIC + _digest(name, body) + body


def intact(name: str, data: bytes) -> bool:
    """Tell whether bytes are an entry of this version, whole, and kept under this name."""
    return data[: len(_MAGIC)] == _MAGIC and data[len(_MAGIC) : _HEAD] == _digest(name, data[_HEAD:])


def decode(name: str, data: bytes) -> Decoded | None:
    """Read an entry.

    Args:
        name: What it was kept under.
        data: The bytes.

    Returns:
        The value, its tables and its snapshot; None for what is damaged, foreign, of another version, or of a class that this
        process does not know yet.
    """
    if not intact(name, data):
        return None
    try:
        tables, snapshot, known, nodes, root = msgspec.msgpack.decode(data[_HEAD:], ext_hook=_from_ext)
        plans = [_plan(*each) for each in known]
        made = tuple(
            Node(plans[at], _identity(plans[at], key, token), tuple(values), tuple(_link(each) for each in links))
            for at, key, token, values, links in nodes
        )
        return Frozen(made, root), frozenset(tables), Snapshot.of(snapshot)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, msgspec.MsgspecError):
        return None


def _plan(name: str, columns: list[str], relations: list[str], opaque: list[int], fingerprint: str) -> Plan:
    plan = plan_by_name(name, tuple(columns), tuple(relations), frozenset(opaque))
    if plan is None or plan.fingerprint != fingerprint:
        raise LookupError(name)
    return plan


def _identity(plan: Plan, key: list[Any], token: Any) -> Any:
    return plan.mapper.identity_key_from_primary_key(tuple(key), identity_token=token)


def _link(link: Any) -> Any:
    return tuple(link) if isinstance(link, list) else link


def _digest(name: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST, key=name.encode()[:64]).digest()


def _packed(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unencodable(str(error)) from error


def _each(values: Any) -> list[Any]:
    return [each if type(each) in _NATIVE else _value(each) for each in values]


def _value(value: Any) -> Any:
    kind = type(value)
    if kind in _NATIVE:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else _ext(_Code.INTEGER, str(value))
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value)
    if isinstance(value, enum.Enum):
        name = f"{kind.__module__}:{kind.__qualname__}"
        _enums[name] = kind
        return _ext(_Code.ENUM, (name, value.name))
    raise Unencodable(f"a {kind.__module__}.{kind.__qualname__} has no encoding")


def _ext(code: _Code, value: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code.value, _packed(value))


def _from_ext(code: int, data: memoryview) -> Any:
    return _DECODERS[_Code(code)](msgspec.msgpack.decode(data, ext_hook=_from_ext))


class _Code(enum.Enum):
    INTEGER, DATETIME, DATE, TIME, DURATION, DECIMAL, UUID, ADDRESS, COMPLEX, ENUM, COLLECTION, DICTIONARY = range(1, 13)
    REF, MANY, ROW, PAIRS, OPAQUE = range(20, 25)


def _datetime(value: dt.datetime) -> Any:
    zone = value.tzinfo
    naive = value.replace(tzinfo=None, fold=0).isoformat()
    if zone is None:
        return _ext(_Code.DATETIME, (naive, value.fold, None))
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return _ext(_Code.DATETIME, (naive, value.fold, zone.key))
    offset = value.utcoffset()
    if type(zone) is not dt.timezone or offset is None:
        raise Unencodable(f"the time zone {zone!r} has no encoding")
    return _ext(_Code.DATETIME, (naive, value.fold, offset.total_seconds()))


def _as_datetime(parts: Any) -> dt.datetime:
    naive, fold, zone = parts
    found: dt.tzinfo | None = None
    if isinstance(zone, str):
        found = zoneinfo.ZoneInfo(zone)
    elif zone == 0:
        found = dt.UTC
    elif zone is not None:
        found = dt.timezone(dt.timedelta(seconds=zone))
    return dt.datetime.fromisoformat(naive).replace(tzinfo=found, fold=fold)


def _address(value: Any) -> Any:
    return _ext(_Code.ADDRESS, (type(value).__name__, str(value)))


def _time(value: dt.time) -> Any:
    if value.tzinfo is not None and type(value.tzinfo) is not dt.timezone:
        raise Unencodable(f"the time zone {value.tzinfo!r} has no encoding")
    return _ext(_Code.TIME, (value.isoformat(), value.fold))


def _collection(value: Any) -> Any:
    return _ext(_Code.COLLECTION, (_KINDS[type(value)], _each(value)))


def _many(value: Many) -> Any:
    if isinstance(value.kind, tuple):
        return _ext(_Code.ROW, (value.kind, _each(value.items)))
    return _ext(_Code.MANY, (_KINDS[value.kind], _each(value.items)))


_ENCODERS: dict[Any, Callable[[Any], Any]] = {
    dt.datetime: _datetime,
    dt.date: lambda value: _ext(_Code.DATE, value.isoformat()),
    dt.time: _time,
    dt.timedelta: lambda value: _ext(_Code.DURATION, (value.days, value.seconds, value.microseconds)),
    decimal.Decimal: lambda value: _ext(_Code.DECIMAL, str(value)),
    uuid.UUID: lambda value: _ext(_Code.UUID, value.bytes),
    complex: lambda value: _ext(_Code.COMPLEX, (value.real, value.imag)),
    Ref: lambda value: _ext(_Code.REF, value.place),
    Many: _many,
    Pairs: lambda value: _ext(_Code.PAIRS, (_each(value.keys), _each(value.items))),
    Opaque: lambda value: _ext(_Code.OPAQUE, _value(value.value)),
    dict: lambda value: _ext(_Code.DICTIONARY, (_each(value), _each(value.values()))),
    **dict.fromkeys(_KINDS, _collection),
    **dict.fromkeys(_ADDRESSES.values(), _address),
}
_DECODERS: dict[_Code, Callable[[Any], Any]] = {
    _Code.INTEGER: int,
    _Code.DATETIME: _as_datetime,
    _Code.DATE: dt.date.fromisoformat,
    _Code.TIME: lambda parts: dt.time.fromisoformat(parts[0]).replace(fold=parts[1]),
    _Code.DURATION: lambda parts: dt.timedelta(*parts),
    _Code.DECIMAL: decimal.Decimal,
    _Code.UUID: lambda data: uuid.UUID(bytes=data),
    _Code.ADDRESS: lambda parts: _ADDRESSES[parts[0]](parts[1]),
    _Code.COMPLEX: lambda parts: complex(*parts),
    _Code.ENUM: lambda parts: _enums[parts[0]][parts[1]],
    _Code.COLLECTION: lambda parts: _KIND_OF[parts[0]](parts[1]),
    _Code.DICTIONARY: lambda parts: dict(zip(*parts, strict=True)),
    _Code.REF: Ref,
    _Code.MANY: lambda parts: Many(_KIND_OF[parts[0]], tuple(parts[1])),
    _Code.ROW: lambda parts: Many(tuple(parts[0]), tuple(parts[1])),
    _Code.PAIRS: lambda parts: Pairs(tuple(parts[0]), tuple(parts[1])),
    _Code.OPAQUE: Opaque,
}
