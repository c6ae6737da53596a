"""The one server of the benchmarks: a single nginx process on another core than the clients.

A server written in Python is slower than the clients under test and would hide what they differ in.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator

# One process without a master: ending it by its own pid ends all of it, and it runs as whoever started it.
# `try_files` rather than `alias`: nginx looks for an index file behind every path that ends in a slash.
_CONFIG: Final = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; open_file_cache max=16;
    default_type application/json; root files;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    map $arg__fields $page {{ "" page; default narrowed; }}
    server {{
        listen 127.0.0.1:{port};
        location = /api/v1/bulk_action/email/ {{ try_files /$page.json =404; }}
        location /api/v1/bulk_action/email/ {{ try_files /item.json =404; }}
    }}
}}
"""
_START_SECONDS: Final = 5.0


@contextlib.contextmanager
def serve(*, core: int) -> Iterator[str]:
    """Run nginx on the core and give the base URL of the API that it serves, loopback only.

    Raises RuntimeError where nginx is not installed or does not start; what it said is in the message.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        message = "the benchmarks need nginx: apt-get install nginx-light"
        raise RuntimeError(message)
    with tempfile.TemporaryDirectory() as folder:
        prefix, port = Path(folder), _find_free_port()
        _write_files(prefix, port=port)
        process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
        try:
            os.sched_setaffinity(process.pid, {core})
            _await_start(process, prefix / "error.log", port=port)
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.terminate()
            process.wait()


def _find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _write_files(prefix: Path, *, port: int) -> None:
    (prefix / "nginx.conf").write_text(_CONFIG.format(port=port))
    (prefix / "files").mkdir()
    for name, body in {"item": corpus.ITEM, "page": corpus.PAGE, "narrowed": corpus.NARROWED}.items():
        (prefix / "files" / f"{name}.json").write_bytes(body)


def _await_start(process: subprocess.Popen[bytes], log: Path, *, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    message = f"nginx did not start: {log.read_text() if log.exists() else 'it left no log'}"
    raise RuntimeError(message)
