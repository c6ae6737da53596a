"""A Redis of the tests' own, one for each process of pytest that asks for one; each test finds it empty.

Where none is installed these tests are skipped. In CI they fail then: a run that left them out proves nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0
"""Seconds after which a server that does not start or stop is given up."""


class RedisServer:
    """A server on a port of 127.0.0.1 that stays the same when it is stopped and started; it keeps nothing then."""

    def __init__(self) -> None:
        """Choose the port."""
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """How to connect to it."""
        return f"redis://127.0.0.1:{self._port}"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers."""
        if self.is_running:
            return
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [shutil.which("redis-server") or "redis-server", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with Redis.from_url(self.url) as redis:
                    redis.ping()
                    return
            except RedisConnectionError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """End it and all its connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def clear(self) -> None:
        """Forget everything."""
        with Redis.from_url(self.url) as redis:
            redis.flushall()


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """The server of this process of pytest."""
    if shutil.which("redis-server") is None:
        reason = "there is no Redis on this machine (Debian: apt-get install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """The same, running and empty."""
    running_redis.start()
    running_redis.clear()
    return running_redis
