"""Runs of pytest in forks, with one change each."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import hypothesis
import pytest
from _pytest.warning_types import PytestAssertRewriteWarning

from tests.mutants.changes import Change
from tests.mutants.swapping import Functions, import_as
from tests.mutants.trials import Trial, Verdict, run_trials

if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import NoReturn

    from tests.mutants.trials import Tell

TO_COLLECT = 90.0
"""Seconds for the imports and the collection of a run."""

OF_ONE_TEST = 10.0
"""Seconds that each test may take more than ten times what it took unchanged: a change may make a loop endless."""

ARGUMENTS = ("--quiet", "--exitfirst", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly")
ROOT = Path(__file__).parents[2]
IGNORED = f"ignore::{PytestAssertRewriteWarning.__module__}.{PytestAssertRewriteWarning.__name__}"
"""This process has imported what pytest would like to import itself; no assertion of ours is in there."""

PROFILE = "mutants"
"""Of hypothesis: the same examples each time, and a failing one is enough, it need not be the shortest."""

hypothesis.settings.register_profile(
    PROFILE,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    suppress_health_check=tuple(hypothesis.HealthCheck),
)


@attrs.frozen
class Tests:
    """The tests of a module, as they are without a change: how long each takes, and which functions it reaches."""

    seconds: Mapping[str, float]
    reached: Mapping[str, Sequence[str]]
    at_import: Sequence[str]
    libraries: Sequence[str]
    kills: Counter[str] = attrs.field(factory=Counter)

    def order(self, owner: str | None = None) -> list[str]:
        """Those that reach a function, or all; first the quick ones and those that have failed most often."""
        names = [
            name
            for name in self.seconds
            if owner is None or any(f"{it}.".startswith(f"{owner}.") for it in self.reached[name])
        ]
        return sorted(names, key=lambda name: self.seconds[name] / (1 + self.kills[name]))

    def limit(self, name: str) -> float:
        """Seconds after which this test hangs."""
        return OF_ONE_TEST + 10 * self.seconds[name]


@attrs.frozen(kw_only=True)
class Suite:
    """A module, all changes of it, and the files of the tests that are to find them."""

    module: str
    path: Path
    files: Sequence[str]
    changes: Sequence[Change]
    folder: Path
    at_once: int

    def run(self) -> Generator[tuple[Change, Verdict], None, None]:
        """What becomes of each change. Raises RuntimeError where the tests fail without one."""
        yield from self._run_in_collected()
        tests = Tests(**json.loads(self._known.read_text()))
        told = [json.loads(line) for line in self._told.read_text().splitlines()]
        tests.kills.update(it["last"] for it in told if it["verdict"] == Verdict.KILLED)
        seen = {it["number"] for it in told}
        left = [number for number in range(len(self.changes)) if number not in seen]
        _import(tests.libraries)
        unchanged = compile(self.path.read_text(encoding="utf-8"), str(self.path), "exec", dont_inherit=True)
        self._check(Trial(0, partial(self._run_fresh, unchanged, tests), TO_COLLECT))
        trials = (Trial(it, partial(self._run_fresh, self.changes[it].code, tests), TO_COLLECT) for it in left)
        with closing(run_trials(trials, at_once=self.at_once)) as results:
            for result in results:
                tests.kills[result.last] += result.verdict is Verdict.KILLED
                yield self.changes[result.number], result.verdict

    @property
    def _known(self) -> Path:
        return self.folder / "tests.json"

    @property
    def _told(self) -> Path:
        return self.folder / "results.jsonl"

    # In a process that has collected the tests ----------------------------------------------------------------------

    def _check(self, unchanged: Trial) -> None:
        """Raise RuntimeError where it does not go well, in which case a change is nothing to be found."""
        with closing(run_trials([unchanged], at_once=1)) as results:
            (result,) = results
        if result.verdict is not Verdict.SURVIVED:
            message = f"the tests of {self.module} fail without a change, or end in {result.last}"
            raise RuntimeError(message)

    def _run_in_collected(self) -> Iterator[tuple[Change, Verdict]]:
        self._check(Trial(0, self._collect, limit=24 * 3600))
        for line in self._told.read_text().splitlines():
            told = json.loads(line)
            yield self.changes[told["number"]], Verdict(told["verdict"])

    def _collect(self, _: Tell) -> bool:
        signal.signal(signal.SIGTERM, _leave)
        with _traced(str(self.path)) as at_import:
            loop = _Loop(lambda session: self._swap_all(session, sorted(at_import)))
            return self._pytest(loop) == pytest.ExitCode.OK

    def _pytest(self, loop: _Loop) -> int:
        os.environ["HYPOTHESIS_PROFILE"] = PROFILE
        output = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        return pytest.main([*ARGUMENTS, "-W", IGNORED, *self.files], plugins=[loop])

    def _swap_all(self, session: pytest.Session, at_import: Sequence[str]) -> bool:
        sys.settrace(None)
        measure = Trial(0, partial(self._measure, session, at_import), TO_COLLECT)
        with closing(run_trials([measure], at_once=1)) as results:
            if [result.verdict for result in results] != [Verdict.SURVIVED]:
                return False
        tests = Tests(**json.loads(self._known.read_text()))
        functions = Functions.of(self.path)
        gc.freeze()
        trials = (
            Trial(number, partial(_run_swapped, session, change, functions, tests), TO_COLLECT)
            for number, change in enumerate(self.changes)
            if change.runs_late and functions.fit(change.code)
        )
        with closing(run_trials(trials, at_once=self.at_once)) as results, self._told.open("w", buffering=1) as told:
            for result in results:
                tests.kills[result.last] += result.verdict is Verdict.KILLED
                # What runs while the package is imported has had its effect already: that is tried once more.
                if result.verdict is not Verdict.SURVIVED or self.changes[result.number].owner not in at_import:
                    told.write(json.dumps(attrs.asdict(result)) + "\n")
        return True

    def _measure(self, session: pytest.Session, at_import: Sequence[str], tell: Tell) -> bool:
        seconds, reached = {}, {}

        def tell_and_measure(item: pytest.Item) -> Iterator[None]:
            tell(item.nodeid, limit=TO_COLLECT)
            start = time.perf_counter()
            with _traced(str(self.path)) as names:
                yield
            seconds[item.nodeid] = time.perf_counter() - start
            reached[item.nodeid] = sorted(names)

        passed = _run_items(session, session.items, tell_and_measure)
        known = {"seconds": seconds, "reached": reached, "at_import": at_import, "libraries": _list_libraries()}
        self._known.write_text(json.dumps(known))
        return passed

    # In a process that has imported nothing -------------------------------------------------------------------------

    def _run_fresh(self, code: CodeType, tests: Tests, tell: Tell) -> bool:
        import_as(f"closebulk_async.{self.module}", code)
        loop = _Loop(lambda session: _run_in_order(session, tests, tests.order(), tell))
        return self._pytest(loop) == pytest.ExitCode.OK


def _run_swapped(session: pytest.Session, change: Change, functions: Functions, tests: Tests, tell: Tell) -> bool:
    functions.swap(change.code)
    return _run_in_order(session, tests, tests.order(change.owner), tell)


def _run_in_order(session: pytest.Session, tests: Tests, order: Sequence[str], tell: Tell) -> bool:
    def tell_each(item: pytest.Item) -> Iterator[None]:
        tell(item.nodeid, limit=tests.limit(item.nodeid))
        yield

    items = {item.nodeid: item for item in session.items}
    return _run_items(session, [items[name] for name in order], tell_each)


def _run_items(
    session: pytest.Session, items: Sequence[pytest.Item], around: Callable[[pytest.Item], Iterator[None]]
) -> bool:
    session.config.pluginmanager.register(_Around(around))
    session.items[:] = items
    try:
        session.config.hook.pytest_runtestloop(session=session)
    except (session.Failed, session.Interrupted):
        return False
    return session.testsfailed == 0


@attrs.frozen(eq=False)
class _Loop:
    """What is done with the tests once they are collected, instead of running them."""

    use: Callable[[pytest.Session], bool]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.unregister(self)
        if not self.use(session):
            session.testsfailed += 1
        return True


@attrs.frozen(eq=False)
class _Around:
    around: Callable[[pytest.Item], Iterator[None]]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with contextmanager(self.around)(item):
            return (yield)


def _list_libraries() -> list[str]:
    """All that is imported and not of this repository: what of that imports the package would bring it unchanged."""
    files = {name: str(getattr(it, "__file__", None) or "") for name, it in sys.modules.items()}
    return [name for name, file in files.items() if name != "__main__" and not file.startswith(f"{ROOT}{os.sep}")]


def _import(names: Sequence[str]) -> None:
    """Have in this process what all of its forks would import, each by itself."""
    with warnings.catch_warnings(action="ignore"):
        for name in names:
            with suppress(Exception):  # what is made in memory, and modules that only others may import
                import_module(name)
    gc.freeze()


@contextmanager
def _traced(path: str) -> Iterator[set[str]]:
    """The names of the functions of a file that are called meanwhile."""
    names: set[str] = set()

    def note(frame: FrameType, _: str, __: object) -> None:
        if frame.f_code.co_filename == path:
            names.add(frame.f_code.co_qualname)

    sys.settrace(note)
    try:
        yield names
    finally:
        sys.settrace(None)


def _leave(*_: object) -> NoReturn:
    sys.exit(1)
