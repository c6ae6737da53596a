"""The package is built in four bands, and what a band may not know stays out of it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent / "closebulk_async"

VALUES, OUTSIDE, SDK, PROGRAMS = 1, 2, 3, 4
"""1 values and decisions, 2 one outside thing a module, 3 the SDK, 4 programs that nothing above imports."""

BANDS: Mapping[str, int] = {
    **dict.fromkeys(
        ("errors", "error_bodies", "models", "guard", "policy", "progress", "convert", "wire", "starts"), VALUES
    ),
    **dict.fromkeys(("query", "fields", "conditions", "parts", "plain_json", "query_words", "condition_words"), VALUES),
    **dict.fromkeys(("ratelimit", "signing", "telemetry", "version", "deprecation", "intents", "fingerprints"), VALUES),
    **dict.fromkeys(
        (
            "budget",
            "event_wire",
            "limits",
            "listing",
            "pace",
            "patience",
            "shared_budget",
            "oauth_wire",
            "search_wire",
            "webhook_models",
            "webhook_wire",
        ),
        VALUES,
    ),
    **dict.fromkeys(("clock", "limiter", "auth", "settings", "connections", "transport", "journal"), OUTSIDE),
    **dict.fromkeys(
        (
            "sqlite_journal",
            "stored_journal",
            "journal_rows",
            "journal_tables",
            "owners",
            "tasks",
            "oauth",
            "renewing",
            "grants",
        ),
        OUTSIDE,
    ),
    **dict.fromkeys(("starting", "watching", "waiting", "batches", "endpoints", "kinds", "client"), SDK),
    **dict.fromkeys(
        (
            "choosing",
            "seeking",
            "polling",
            "waiters",
            "streams",
            "subscriptions",
            "announcing",
            "watches",
            "discovering",
            "outcomes",
        ),
        SDK,
    ),
    **dict.fromkeys(
        (
            "account",
            "owning",
            "keeping",
            "fencing",
            "reconciling",
            "recovering",
            "creating",
            "attempts",
            "counting",
            "operations",
        ),
        SDK,
    ),
    **dict.fromkeys(("export_wire", "file_wire", "unpacking"), VALUES),
    **dict.fromkeys(("incoming", "partfile", "lines", "far_limiter", "shared_limiter"), OUTSIDE),
    **dict.fromkeys(("exports", "downloads", "sourcing", "search", "outcomes"), SDK),
    **dict.fromkeys(("webhooks", "cli", "dashboard", "integrations", "testing", "simulator"), PROGRAMS),
    "__init__": SDK,
}
"""The band of each module or subpackage directly below the package. A new one needs a row here."""

NOT_IN_VALUES = frozenset({"aiohttp", "asyncio", "time", "random"})
READS_THE_CLOCK = frozenset({"now", "utcnow", "today"})
TOUCHES_FILES = frozenset({"open", "read_text", "read_bytes", "write_text", "write_bytes"})


@attrs.frozen
class Import:
    """One imported module: its absolute name, where it is imported, and whether the import is ever executed."""

    target: str
    line: int
    runs: bool
    relative: bool


@attrs.frozen
class Module:
    """One file of the tree, `name` relative to the package: `errors`, `cli.main`, `__init__` for the package itself."""

    name: str
    path: str
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def top(self) -> str:
        """The module or subpackage directly below the package that this file belongs to."""
        return self.name.partition(".")[0]

    @property
    def band(self) -> int | None:
        """The band, None for a file that no band lists."""
        return BANDS.get(self.top)


def read_tree(root: Path) -> dict[str, Module]:
    """Every Python file below `root`, by its name relative to it."""
    files = {_name(path.relative_to(root)): path for path in sorted(root.rglob("*.py"))}
    modules = {}
    for name, path in files.items():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        package = root.name if path.parent == root else f"{root.name}.{'.'.join(path.parent.relative_to(root).parts)}"
        imports = tuple(_imports(tree, package=package, known={f"{root.name}.{known}" for known in files}))
        modules[name] = Module(name, path.relative_to(root.parent).as_posix(), text, tree, imports)
    return modules


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _imports(node: ast.AST, *, package: str, known: set[str], runs: bool = True) -> Iterator[Import]:
    """Every import below `node`, inside functions too: one that runs late still ties two modules together."""
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, runs, relative=False) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.rsplit(".", node.level - 1)[0] if node.level else ""
        base = ".".join(filter(None, (above, node.module)))
        for alias in node.names:
            target = f"{base}.{alias.name}"
            yield Import(target if target in known else base, node.lineno, runs, relative=node.level > 0)
    elif isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        for guarded in node.body:
            yield from _imports(guarded, package=package, known=known, runs=False)
        for other in node.orelse:
            yield from _imports(other, package=package, known=known, runs=runs)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package=package, known=known, runs=runs)


def find_breaches(root: Path) -> list[str]:
    """What the tree of the package at `root` does against its layers, one sentence each; empty when it keeps them."""
    modules = read_tree(root)
    found = [f"{module.path} belongs to no band" for module in modules.values() if module.band is None]
    for module in modules.values():
        found += _wrong_directions(module, package=root.name)
        if module.band == VALUES:
            found += _outside_things(module)
    return [*found, *_wrong_counts(modules), *_cycles(modules, package=root.name)]


def _below(target: str, package: str) -> str | None:
    """The name of an imported module relative to the package, None when it is another package's."""
    if target == package:
        return "__init__"
    return target.removeprefix(f"{package}.") if target.startswith(f"{package}.") else None


def _wrong_directions(module: Module, *, package: str) -> Iterator[str]:
    """Imports of a later band, imports for types included: a signature ties as much as a call does."""
    for item in module.imports:
        target = _below(item.target, package)
        where = f"{module.path}:{item.line}"
        if module.top == "simulator":
            # One misreading of the API must not pass on both sides: it knows nothing of the client.
            if (target and target.partition(".")[0] != "simulator") or (target and not item.relative):
                yield f"{where} imports {item.target}: the simulator imports only itself, relatively"
            continue
        if target is None:
            continue
        top = target.partition(".")[0]
        if module.band and BANDS.get(top, 0) > module.band:
            yield f"{where} imports {item.target}: band {module.band} may not know band {BANDS[top]}"
        if top == "simulator" and module.top != "testing":
            yield f"{where} imports {item.target}: only testing does, others start it as a process"
        if module.name == "errors" and item.runs:
            yield f"{where} imports {item.target}: errors is a leaf"


def _outside_things(module: Module) -> Iterator[str]:
    """What values and decisions must be given and may not fetch: the network, the loop, time, chance, files."""
    for item in module.imports:
        if item.target.partition(".")[0] in NOT_IN_VALUES:
            yield f"{module.path}:{item.line} imports {item.target}: band 1 may not"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, method = called.rpartition(".")
        if method in TOUCHES_FILES and (owner or method == "open"):
            yield f"{module.path}:{node.lineno} calls {called}: band 1 touches no file"
        if method in READS_THE_CLOCK and owner.rpartition(".")[2] in {"datetime", "date"}:
            yield f"{module.path}:{node.lineno} calls {called}: band 1 is told the time"


def _wrong_counts(modules: Mapping[str, Module]) -> Iterator[str]:
    """The session and backoff have one home each; the simulator, which stands alone, has a session of its own."""
    sessions = {m.path: len(re.findall(r"\bClientSession\(", m.text)) for m in modules.values()}
    backoffs = Counter(
        m.path for m in modules.values() for item in m.imports if item.target.partition(".")[0] == "backoff"
    )
    for what, home, counts in (("ClientSession(", "connections", sessions), ("import backoff", "policy", backoffs)):
        if home not in modules:
            yield f"{what} has lost its home, {home}"
        for module in modules.values():
            if module.top == "simulator":
                continue
            expected = int(module.name == home)
            if counts[module.path] != expected:
                yield f"{module.path} has {what} {counts[module.path]} times instead of {expected}"


def _cycles(modules: Mapping[str, Module], *, package: str) -> list[str]:
    """The first cycle of imports that run; those for types only may point back inside a band."""
    graph = {
        module.name: {target for item in module.imports if item.runs and (target := _below(item.target, package))}
        for module in modules.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return [f"cycle: {' -> '.join(reversed(exc.args[1]))}"]
    return []


def test_package_keeps_its_layers() -> None:
    """No module of the package imports upward, in a circle or what its band may not know."""
    assert find_breaches(ROOT) == []


GOOD_TREE: Mapping[str, str] = {
    "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tree.client import Client\n",
    "errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tree.models import JobRef\n",
    "models.py": "from datetime import datetime\nfrom tree.errors import Error\n",
    "policy.py": "import backoff\nfrom tree.models import JobRef\n",
    "transport.py": "",
    "connections.py": "import aiohttp\nimport asyncio\nfrom tree import errors\nsession = aiohttp.ClientSession()\n",
    "client.py": "from tree.transport import send\nfrom tree.models import JobRef\n",
    "cli/__init__.py": "from tree import CloseBulk\nfrom tree.cli import watch\n",
    "cli/watch.py": "import time\nfrom tree.client import Client\n",
    "simulator/__init__.py": "from .server import Simulator\n",
    "simulator/server.py": "import random\nfrom . import faults\nfrom .faults import Hang\n",
    "simulator/faults.py": "import asyncio\n",
    "testing/__init__.py": "from tree.simulator import Simulator\nfrom tree.client import Client\n",
}


def write_tree(folder: Path, added: Mapping[str, str]) -> Path:
    """Write the good tree as a package `tree`, with the texts of `added` put at the end of the files that they name."""
    root = folder / "tree"
    for name in {**GOOD_TREE, **added}:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD_TREE.get(name, "") + added.get(name, ""), encoding="utf-8")
    return root


def test_checker_accepts_a_good_tree(tmp_path: Path) -> None:
    """A tree that keeps the layers has no breaches, type-only imports back inside a band included."""
    assert find_breaches(write_tree(tmp_path, {})) == []


@pytest.mark.parametrize(
    ("module", "text", "breach"),
    [
        ("surprise", "x = 1", "tree/surprise.py belongs to no band"),
        ("models", "from tree.transport import send", "band 1 may not know band 2"),
        ("models", "def f():\n    from tree import transport", "band 1 may not know band 2"),
        ("models", "from .transport import send", "band 1 may not know band 2"),
        ("models", "import typing\nif typing.TYPE_CHECKING:\n    import tree.client", "band 1 may not know band 3"),
        (
            "models",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import tree.client",
            "band 3",
        ),
        ("models", "from tree import CloseBulk", "tree/models.py:3 imports tree: band 1 may not know band 3"),
        ("transport", "import tree.client", "band 2 may not know band 3"),
        ("client", "from tree.cli.watch import show", "band 3 may not know band 4"),
        ("errors", "from tree.policy import RetryPolicy", "errors is a leaf"),
        ("policy", "import asyncio.timeouts", "tree/policy.py:3 imports asyncio.timeouts: band 1 may not"),
        ("policy", "from aiohttp import ClientTimeout", "imports aiohttp: band 1 may not"),
        ("policy", "import time", "imports time: band 1 may not"),
        ("policy", "from random import random", "imports random: band 1 may not"),
        ("policy", "text = open('x').read()", "calls open: band 1 touches no file"),
        ("policy", "import pathlib\ntext = pathlib.Path('x').read_text()", "band 1 touches no file"),
        ("policy", "import datetime\nnow = datetime.datetime.now()", "band 1 is told the time"),
        ("policy", "from backoff import full_jitter", "tree/policy.py has import backoff 2 times instead of 1"),
        ("client", "import backoff", "tree/client.py has import backoff 1 times instead of 0"),
        ("connections", "other = ClientSession()", "tree/connections.py has ClientSession( 2 times instead of 1"),
        ("client", "session = aiohttp.ClientSession()", "tree/client.py has ClientSession( 1 times instead of 0"),
        ("cli/watch", "import tree.simulator.server", "only testing does"),
        ("simulator/server", "from tree.errors import Error", "the simulator imports only itself, relatively"),
        ("simulator/server", "from .. import errors", "the simulator imports only itself, relatively"),
        ("simulator/server", "from ..models import JobRef", "the simulator imports only itself, relatively"),
        ("simulator/server", "from tree.simulator import faults", "the simulator imports only itself, relatively"),
        ("simulator/faults", "from .server import Simulator", "cycle: "),
    ],
)
def test_checker_finds(tmp_path: Path, module: str, text: str, breach: str) -> None:
    """One line that the layers forbid is named with its reason; upward, it may close a cycle as well."""
    found = find_breaches(write_tree(tmp_path, {f"{module}.py": text}))
    assert len([sentence for sentence in found if breach in sentence]) == 1, found


def test_checker_finds_a_cycle_within_a_band(tmp_path: Path) -> None:
    """Two modules of one band that import each other are reported with the way round."""
    added = {"models.py": "from tree.progress import Progress", "progress.py": "def f():\n    import tree.models"}
    root = write_tree(tmp_path, added)
    (breach,) = find_breaches(root)
    assert breach.startswith("cycle: ")
    assert {"models", "progress"} <= set(re.findall(r"\w+", breach))


def test_checker_finds_a_missing_home(tmp_path: Path) -> None:
    """A tree without the modules that own the session and backoff is reported, so that a renamed one is noticed."""
    root = write_tree(tmp_path, {})
    (root / "connections.py").unlink()
    (root / "policy.py").unlink()
    lost = [sentence for sentence in find_breaches(root) if "has lost its home" in sentence]
    assert lost == ["ClientSession( has lost its home, connections", "import backoff has lost its home, policy"]


def test_checker_misses_the_session_and_backoff(tmp_path: Path) -> None:
    """A tree where the one session or the one import of backoff has gone is reported as well."""
    root = write_tree(tmp_path, {})
    (root / "connections.py").write_text("", encoding="utf-8")
    (root / "policy.py").write_text("", encoding="utf-8")
    assert find_breaches(root) == [
        "tree/connections.py has ClientSession( 0 times instead of 1",
        "tree/policy.py has import backoff 0 times instead of 1",
    ]
