"""An Airflow on this machine: a metadata database in SQLite, an API server, a triggerer, and Dags that run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

HOST = "127.0.0.1"
AIRFLOW = Path(sys.executable).with_name("airflow")
CONNECTION = "close"
KEY = "api_3fkk8Xhw2mGJkv9dyHGqQk.6MsyTJrpGLZzaVu1kXyzUq"
"""Unlike what the simulator takes by default: no text of this project shows it by chance."""

LONGEST = 240.0
"""Seconds within which anything of this has happened on a slow machine, unless it never does."""

ARGUMENTS = {
    "template_id": "tmpl_1",
    "email_account_id": "emailacct_1",
    "s_query": {"type": "id", "value": "lead_1"},
    "send_done_email": False,
}

DAG = """\
from airflow.sdk import DAG

from closebulk_async.integrations.airflow import CloseBulkOperator

with DAG({dag_id!r}, schedule=None):
    CloseBulkOperator{how}
"""


WRITE = """
import sys, uuid
from airflow.configuration import conf
from airflow.executors.local_executor import LocalExecutor
from airflow.sdk.api.client import Client, ServerResponseError

id = uuid.UUID(sys.argv[1])
token = LocalExecutor().jwt_generator.generate({"sub": str(id)})
client = Client(base_url=conf.get("core", "execution_api_server_url"), token=token)
try:
    client.task_state_store.set(id, "of a test", "anything", expires_at=None)
    print("written")
except ServerResponseError as exc:
    print(exc.response.status_code)
"""
"""Writes into the task state store as the supervisor of a worker does, by the same API."""


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def until(claim: Callable[[], object]) -> None:
    """Wait until a claim about other processes holds. Raises TimeoutError."""
    async with asyncio.timeout(LONGEST):
        while not claim():  # noqa: ASYNC110 - nobody tells of what another process does
            await asyncio.sleep(0.05)


@attrs.frozen(kw_only=True)
class Deployment:
    """One folder with all that Airflow keeps. `close_port` is where a simulator has to be."""

    home: Path
    api_port: int = attrs.field(factory=free_port)
    close_port: int = attrs.field(factory=free_port)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of each of its processes; what this one's says of Airflow and Close stays out."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CLOSE"))}
        base_url = f"http://{HOST}:{self.close_port}/api/v1"
        return others | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self.api_port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "for the tests of one machine, of which nobody else knows anything at all",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{self.api_port}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": "",  # so that a key that is written anywhere is seen there
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "closebulk_async=DEBUG",
            # How late an executor hears that a process has ended: a task that is resumed by then counts as lost.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW_CONN_CLOSE": json.dumps({"conn_type": "close", "password": KEY, "host": base_url}),
        }

    @property
    def dags(self) -> Path:
        """Where Dags are found."""
        return self.home / "dags"

    def migrate(self) -> None:
        """Make the metadata database."""
        self.dags.mkdir()
        with (self.home / "migrate.log").open("wb") as log:
            subprocess.run(
                [AIRFLOW, "db", "migrate"], env=self.environment, stdout=log, stderr=subprocess.STDOUT, check=True
            )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run what tasks and triggers need in processes of their own."""
        with (
            self._service("api-server", "--apps", "execution"),
            self._service("triggerer", "--skip-serve-logs"),
        ):
            deadline = time.monotonic() + LONGEST
            while not self._is_answered():
                if time.monotonic() > deadline:
                    raise TimeoutError((self.home / "api-server.log").read_text(encoding="utf-8"))
                time.sleep(0.1)
            yield

    @contextmanager
    def _service(self, *command: str) -> Iterator[None]:
        with (self.home / f"{command[0]}.log").open("wb") as log:
            process = subprocess.Popen(
                [AIRFLOW, *command],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a triggerer and an API server have children, which are to end with them
            )
            try:
                yield
            finally:
                _end(process)

    def _is_answered(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((HOST, self.api_port)) == 0

    def add_dag(self, dag_id: str, *, arguments: Mapping[str, Any] | None = None, **operator: Any) -> None:
        """A Dag of one task, `send`, whose operator sends a bulk email."""
        self._write_dag(dag_id, f"(**{_complete(operator) | {'arguments': arguments or ARGUMENTS}!r})")

    def add_mapped_dag(self, dag_id: str, *, arguments: Sequence[Mapping[str, Any]], **operator: Any) -> None:
        """A Dag whose task `send` is made once for each of `arguments`."""
        self._write_dag(dag_id, f".partial(**{_complete(operator)!r}).expand(arguments={arguments!r})")

    def _write_dag(self, dag_id: str, how: str) -> None:
        (self.dags / f"{dag_id}.py").write_text(DAG.format(dag_id=dag_id, how=how), encoding="utf-8")

    @asynccontextmanager
    async def running(self, dag_id: str, *options: str) -> AsyncIterator[Process]:
        """`airflow dags test` of a Dag, with all that it starts. It is killed at the end, if it has not ended."""
        with (self.home / f"{dag_id}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                AIRFLOW,
                "dags",
                "test",
                *options,
                dag_id,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def run(self, dag_id: str, *options: str) -> None:
        """Run a Dag to its end, however it ends."""
        async with self.running(dag_id, *options) as process:
            await asyncio.wait_for(process.wait(), LONGEST)

    async def write_state(self, id: str) -> str:
        """What comes of it when the task instance of that id writes into the task state store."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-c", WRITE, id, env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        return said.decode().strip().splitlines()[-1]

    # What is known of a run -----------------------------------------------------------------------------------------

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Rows of the metadata database."""
        with closing(sqlite3.connect(self.home / "airflow.db", timeout=LONGEST)) as db, db:
            return db.execute(statement, values).fetchall()

    def state_of(self, dag_id: str) -> tuple[str | None, int]:
        """The state of the task, and the number of its try."""
        rows = self.ask("SELECT state, try_number FROM task_instance WHERE dag_id = ?", dag_id)
        state: tuple[str | None, int] = rows[0] if rows else (None, 0)
        return state

    def journal_of(self, dag_id: str) -> Mapping[str, Any]:
        """The intent of the task, as the task state store has it. Empty before there is one."""
        for (value,) in self.ask("SELECT value FROM task_state_store WHERE dag_id = ?", dag_id):
            (intent,) = json.loads(value)["intents"]
            return dict(intent)
        return {}

    def worker_of(self, dag_id: str) -> int:
        """The process that has written the intent last."""
        _, _, process = self.journal_of(dag_id)["owner"].split("|")
        return int(process.partition(" ")[0])

    def result_of(self, dag_id: str) -> Any:  # noqa: ANN401 - whatever the task has returned
        """The XCom that the task has returned."""
        ((value,),) = self.ask("SELECT value FROM xcom WHERE dag_id = ? AND key = 'return_value'", dag_id)
        return json.loads(value)

    def log_of(self, dag_id: str) -> str:
        """The task log, of worker and triggerer and of all tries."""
        files = sorted((self.home / "logs" / f"dag_id={dag_id}").rglob("*.log"))
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    def everything(self) -> Iterator[tuple[str, str]]:
        """Whatever was written: logs, the output of processes, and the metadata database as text."""
        for file in self.home.rglob("*.log"):
            yield str(file), file.read_text(encoding="utf-8", errors="replace")
        with closing(sqlite3.connect(self.home / "airflow.db", timeout=LONGEST)) as db:
            yield "the metadata database", "\n".join(db.iterdump())


def _complete(operator: Mapping[str, Any]) -> dict[str, Any]:
    return {"task_id": "send", "kind": "email", "conn_id": CONNECTION, "retry_delay": 0.0, **operator}


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(LONGEST / 6)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
