"""Where flows end: tables, functions, Redis Streams, files, webhooks, a page that shows what comes."""

from dal.streams.sinks.base import Keeping, Setting, Sink
from dal.streams.sinks.calls import Calls, Invalidations
from dal.streams.sinks.dashboard import Dashboard
from dal.streams.sinks.json_lines import JsonLines
from dal.streams.sinks.redis_stream import RedisStream
from dal.streams.sinks.webhook import Webhook

__all__ = ["Calls", "Dashboard", "Invalidations", "JsonLines", "Keeping", "RedisStream", "Setting", "Sink", "Webhook"]
