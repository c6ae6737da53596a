"""What the package shows to the world: these names, from these modules, and nothing that an import drags along."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import closebulk_async

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "auth": ("ApiKey", "Auth", "BearerToken"),
    "batches": ("Outcome",),
    "client": ("CloseBulk",),
    "clock": ("Clock", "SystemClock"),
    "deprecation": ("CloseBulkDeprecationWarning",),
    "settings": (),
    "convert": (),
    "endpoints": ("BulkActions",),
    "errors": (
        "APIError",
        "AmbiguousStartError",
        "AuthenticationError",
        "BadRequestError",
        "BlockedStartError",
        "BulkActionFailed",
        "BulkActionPaused",
        "BulkActionStalled",
        "ClientClosedError",
        "CloseBulkError",
        "DecodeError",
        "DuplicateWebhookError",
        "FieldNotRequested",
        "IdempotencyConflictError",
        "InvalidRequestError",
        "InvalidWebhookError",
        "JournalError",
        "NotFoundError",
        "PermissionDeniedError",
        "PlanLimitError",
        "RateLimitedError",
        "SearchIncompleteError",
        "ServerError",
        "SignatureKeyNotShown",
        "StartError",
        "TooManyMatchesError",
        "TransportError",
        "UnfencedStartError",
        "UnsafeQueryError",
        "WaitClosedError",
        "WaitError",
        "WaitTimeout",
        "WatchLostError",
    ),
    "kinds": (),
    "models": (
        "BulkAction",
        "BulkDelete",
        "BulkEdit",
        "BulkEmail",
        "BulkObjectType",
        "BulkSequenceSubscription",
        "ContactPreference",
        "CustomFieldOperation",
        "EditType",
        "Export",
        "ExportStatus",
        "Job",
        "JobRef",
        "Kind",
        "Page",
        "SequenceActionType",
        "Status",
    ),
    "policy": ("PollPolicy", "RetryPolicy", "StartPolicy", "Timeouts"),
    "progress": ("Progress",),
    "guard": (),
    "conditions": (),
    "condition_words": (),
    "query_words": (),
    "parts": (),
    "plain_json": (),
    "ratelimit": ("RateLimit",),
    "starting": (),
    "starts": ("DeleteStart", "EditStart", "EmailStart", "SequenceStart"),
    "transport": (),
    "version": ("__version__",),
    "waiting": ("Wait",),
    "watching": (),
    "wire": ("Me",),
    "intents": ("Fence", "Intent", "Sighting", "State"),
    "journal": ("Journal", "MemoryJournal"),
    "sqlite_journal": ("SqliteJournal",),
    "recovering": ("Recovered",),
    "telemetry": (
        "ActionMoved",
        "Event",
        "Hook",
        "LogHook",
        "PollEnded",
        "RequestEnded",
        "RequestRepeated",
        "StartMoved",
        "StartReconciled",
        "Throttled",
        "WaitBegan",
        "WaitEnded",
        "WebhookReceived",
    ),
    "counting": ("Preview",),
    "fingerprints": (),
    "journal_rows": (),
    "stored_journal": (),
    "journal_tables": (),
    "owners": (),
    "tasks": (),
    "account": (),
    "owning": (),
    "keeping": (),
    "fencing": (),
    "reconciling": (),
    "creating": (),
    "attempts": (),
    "operations": (),
    "budget": ("Priority", "Sight"),
    "limiter": ("Limiter", "MemoryLimiter"),
    "lines": (),
    "far_limiter": (),
    "shared_budget": (),
    "shared_limiter": (),
    "signing": ("verify_webhook",),
    "limits": ("GroupLimits", "ShownLimit"),
    "outcomes": ("ObjectOutcome", "OutcomeSummary", "Outcomes"),
    "event_wire": (),
    "export_wire": ("DateFormat", "ExportFormat", "LeadExportType"),
    "file_wire": (),
    "unpacking": (),
    "incoming": (),
    "partfile": (),
    "exports": ("Exports",),
    "sourcing": (),
    "downloads": ("Download", "DownloadProgress"),
    "query": ("Query", "by_id", "raw", "saved_search", "text_search"),
    "fields": ("address", "contact", "contact_email", "contact_phone", "contact_url", "lead"),
    "oauth": ("OAuth",),
    "oauth_wire": ("OAuthToken", "authorize_url"),
    "grants": ("exchange_code", "revoke_token"),
    "search": ("Search",),
    "search_wire": ("Hit", "SortKey", "asc", "desc"),
    "seeking": (),
    "patience": (),
    "renewing": (),
    "webhook_models": ("Webhook", "WebhookEvent", "WebhookStatus"),
    "subscriptions": ("Webhooks",),
    "listing": (),
    "pace": (),
    "webhook_wire": ("job_events",),
    "error_bodies": (),
    "connections": (),
    "choosing": (),
    "polling": (),
    "waiters": (),
    "streams": (),
    "discovering": (),
    "watches": (),
    "announcing": (),
}
"""Every module of bands 1 to 3 with the names of it that the package exports. A new name is a promise: add it here."""

PROGRAMS = frozenset({"webhooks", "cli", "dashboard", "integrations", "testing", "simulator"})
"""What is used by its own module name, so that importing the package costs nothing of it."""

WITHOUT_AIOHTTP = (
    "closebulk_async.models",
    "closebulk_async.guard",
    "closebulk_async.fields",
    "closebulk_async.errors",
)
HEAVY = frozenset({"typer", "rich", "pytest", "aiohttp.web", "closebulk_async.simulator", "closebulk_async.testing"})


def loaded_by(code: str) -> frozenset[str]:
    """The names of all modules that a fresh interpreter has loaded after it ran `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return frozenset(json.loads(ran.stdout))


def test_exports_are_the_table() -> None:
    """`__all__` holds exactly the names of the table, each once."""
    assert sorted(closebulk_async.__all__) == sorted(name for names in PUBLIC.values() for name in names)


def test_exports_are_sorted() -> None:
    """`__all__` is in the order in which `sorted` puts it."""
    assert list(closebulk_async.__all__) == sorted(closebulk_async.__all__)


def test_type_checkers_see_the_table() -> None:
    """The imports that only a type checker reads bring each export from the module of its row."""
    imports = ast.walk(ast.parse(Path(str(closebulk_async.__file__)).read_text(encoding="utf-8")))
    seen = {
        (str(node.module).removeprefix("closebulk_async."), alias.name)
        for node in imports
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("closebulk_async.")
        for alias in node.names
    }
    assert seen == {(module, name) for module, names in PUBLIC.items() for name in names}


def test_typing_programs_use_every_export() -> None:
    """What type checkers are asked about in `tests/typing` is all that the package exports, but for its version."""
    programs = Path(__file__).with_name("typing").glob("*.py")
    nodes = [node for path in programs for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "closebulk_async"]
    used = {alias.name for node in imports for alias in node.names}
    assert used - PROGRAMS == set(closebulk_async.__all__) - {"__version__"}


def test_table_lists_every_module() -> None:
    """Each file of the SDK has a row in the table, if only an empty one."""
    root = Path(str(closebulk_async.__file__)).parent
    files = {path.stem for path in root.iterdir() if path.suffix == ".py" or path.joinpath("__init__.py").exists()}
    assert files - PROGRAMS - {"__init__"} == set(PUBLIC)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_export_is_the_module_s_own(module: str, name: str) -> None:
    """A name of the package is the very object that its module defines."""
    assert getattr(closebulk_async, name) is getattr(importlib.import_module(f"closebulk_async.{module}"), name)


def test_dir_agrees() -> None:
    """`dir()` shows the exports once, and beside them only private names and the package's own modules."""
    assert len(dir(closebulk_async)) == len(set(dir(closebulk_async)))
    shown = {name for name in dir(closebulk_async) if not name.startswith("_") or name == "__version__"}
    assert shown >= set(closebulk_async.__all__)
    assert shown - set(closebulk_async.__all__) <= {*PUBLIC, *PROGRAMS}


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not have is refused as any module would refuse it."""
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(closebulk_async, "no_such_name")  # noqa: B009 - the plain spelling is what mypy would refuse


def test_star_import_brings_the_exports() -> None:
    """`from closebulk_async import *` defines every export in a fresh interpreter."""
    code = (
        "from closebulk_async import *\nimport closebulk_async\nassert set(closebulk_async.__all__) <= set(globals())"
    )
    assert "closebulk_async.client" in loaded_by(code)


def test_client_comes_without_programs() -> None:
    """Importing the client loads no command line, no test tool, no simulator and no web server of ours."""
    loaded = loaded_by("from closebulk_async import CloseBulk")
    assert "closebulk_async.client" in loaded
    assert not loaded & (HEAVY - {"aiohttp.web"})


@pytest.mark.parametrize("module", WITHOUT_AIOHTTP)
def test_values_come_without_aiohttp(module: str) -> None:
    """A program that only reads models, builds queries or catches errors does not pay for aiohttp."""
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert "aiohttp" not in loaded


def test_simulator_command_line_comes_without_aiohttp() -> None:
    """The simulator's program imports aiohttp when it serves, not when it is imported."""
    loaded = loaded_by("import closebulk_async.simulator.__main__")
    assert "closebulk_async.simulator.__main__" in loaded
    assert "aiohttp" not in loaded
