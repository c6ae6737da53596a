"""A PostgreSQL of the tests' own: a server for each process of pytest that asks for one, a database for each test.

Where no PostgreSQL is installed these tests are skipped. In CI they fail then: a run that left them out proves nothing.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from closebulk_async.integrations.fleet_setup import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    # A test kills processes, also those of the server, and never the machine: what the kernel has is not lost.
    "fsync": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",  # so that no test meets its locks
}
PATIENCE = 30.0
"""Seconds after which a server that does not start or stop is given up."""


class PostgresServer:
    """A server on a port of 127.0.0.1 that stays the same when it is stopped and started."""

    def __init__(self, binaries: Path) -> None:
        """Make its files."""
        self._binaries = binaries
        self._user = _user()
        self._folder = Path(tempfile.mkdtemp(prefix="closebulk-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        data = ["--pgdata", str(self._data), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8"]
        command = [str(binaries / "initdb"), *data, "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._as_user())

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def socket(self) -> str:
        """The folder of its socket, which serves as a host as well."""
        return str(self._folder)

    def conninfo(self, database: str = "postgres") -> str:
        """How to connect to one of its databases."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers."""
        if self.is_running:
            return
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
        place = ["-D", str(self._data), "-p", str(self.port), "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", *place, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as_user(),
            )
        self._wait_until_it_answers()

    def stop(self, *, at_once: bool = False) -> None:
        """End it and all its connections: in good order, or `at_once`, as after a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # seen once in thousands of restarts
                if not at_once:
                    raise
                self._process.kill()
                self._process.wait(PATIENCE)

    def restart(self, *, at_once: bool = False) -> None:
        """End it and start it again."""
        self.stop(at_once=at_once)
        self.start()

    def remove(self) -> None:
        """End it, and remove its files."""
        self.stop(at_once=True)
        shutil.rmtree(self._folder)

    def create_database(self, template: str = "template1") -> str:
        """Make a database like that one, and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.conninfo()).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or not self.is_running:
                    raise
                time.sleep(0.02)
            else:
                return

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.conninfo(), autocommit=True) as connection:
            connection.execute(statement)

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": ()}


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """The server of this process of pytest."""
    binaries = find_binaries()
    if binaries is None:
        reason = "there is no PostgreSQL on this machine (Debian: apt-get install postgresql)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(running_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The same, for a test that stops it: it runs again afterwards."""
    running_postgres.start()
    yield running_postgres
    running_postgres.start()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """How to connect to an empty database of this test's own."""
    name = postgres.create_database()
    yield postgres.conninfo(name)
    postgres.start()
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def fleet_template(running_postgres: PostgresServer) -> str:
    """A database with the tables of a fleet, for others to be made like it."""
    running_postgres.start()
    name = running_postgres.create_database()
    asyncio.run(prepare(running_postgres.conninfo(name)))
    return name


@pytest.fixture
def fleet_database(postgres: PostgresServer, fleet_template: str) -> Iterator[str]:
    """How to connect to a database of this test's own with the tables of a fleet, all empty."""
    name = postgres.create_database(fleet_template)
    yield postgres.conninfo(name)
    postgres.start()
    postgres.drop_database(name)


def find_binaries() -> Path | None:
    """Where the newest `initdb` is: on the path, or where Debian keeps it."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    return newest and newest.parent


def _user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root. None stands for the user who runs the tests."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None
