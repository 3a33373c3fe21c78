"""What to keep of what was read, and what spoils it.

`db.cache` is a `Cache`; `MemoryCache`, `RedisCache` and `TieredCache` are its settings; `copies`, `shapes` and `dictionaries`
are the forms in which it gives values.
"""

from dal.cache.cache import Cache
from dal.cache.forms import copies, dictionaries, shapes
from dal.cache.opening import open_cache
from dal.cache.runtime import Tasks, Threads
from dal.cache.settings import MemoryCache, RedisCache, TieredCache
from dal.cache.shapes import Shape
from dal.cache.stats import CacheStats

__all__ = [
    "Cache",
    "CacheStats",
    "MemoryCache",
    "RedisCache",
    "Shape",
    "Tasks",
    "Threads",
    "TieredCache",
    "copies",
    "dictionaries",
    "open_cache",
    "shapes",
]
