"""A module of `integrations` says what to install where its library is missing; others need none of it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(program: str) -> str:
    """What a program of its own prints."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("airflow", "airflow", "airflow"),
        ("opentelemetry", "opentelemetry", "opentelemetry"),
        ("postgres", "psycopg", "fleet"),
        ("postgres", "psycopg_pool", "fleet"),
        ("postgres_limiter", "psycopg", "fleet"),
        ("procrastinate", "procrastinate", "fleet"),
        ("prometheus", "prometheus_client", "prometheus"),
        ("redis", "redis", "redis"),
        ("redis", "pyrate_limiter", "redis"),
    ],
)
def test_the_error_names_the_extra(module: str, library: str, extra: str) -> None:
    """It is an ImportError of that library, so that whoever tries can go on without."""
    program = (
        "import sys\n"
        f"sys.modules[{library!r}] = None\n"
        "try:\n"
        f"    import closebulk_async.integrations.{module}\n"
        "except ImportError as exc:\n"
        "    print(exc)\n"
    )
    assert run(program).endswith(f"pip install 'closebulk-async[{extra}]'")


def test_the_package_brings_none_of_them() -> None:
    """Neither the client nor `integrations` itself imports a library that somebody may not have."""
    program = (
        "import sys\n"
        "import closebulk_async.client, closebulk_async.integrations\n"
        "optional = 'airflow opentelemetry prometheus_client psycopg procrastinate pyrate_limiter redis'.split()\n"
        "print([name for name in sys.modules if name.startswith(tuple(optional))])\n"
    )
    assert run(program) == "[]"
