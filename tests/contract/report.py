"""What a run has found out, as Markdown: each question and its answer, and the shapes that were seen. No values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from closebulk_async.version import __version__
from tests.contract.reads import KINDS
from tests.contract.unknowns import UNKNOWNS
from tests.contract.verdicts import State, Verdict, listed, masked, quoted
from tests.schemas import unknown_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.contract.exchanges import Row
    from tests.contract.survey import Record


def make_report(records: Sequence[Record]) -> str:
    """The report of one run, which may have read several services."""
    return "\n".join(_lines(records)) + "\n"


def answers(record: Record) -> Iterator[str]:
    """Each question by its name, and what the run says of it, on a line each."""
    for unknown in UNKNOWNS:
        verdict = unknown.judge(record)
        yield f"{unknown.name} ({verdict.state}): {verdict.text}"


def summary(record: Record) -> str:
    """How many questions a run has settled, on one line."""
    states = [unknown.judge(record).state for unknown in UNKNOWNS]
    counts = ", ".join(f"{states.count(state)} {state}" for state in State)
    return f"{record.service}: {record.n_requests} requests; of {len(states)} questions {counts}"


def _lines(records: Sequence[Record]) -> Iterator[str]:
    yield "# What no source says of the service"
    yield ""
    yield f"Read with closebulk-async {__version__}."
    yield ""
    for record in records:
        yield f"- {summary(record)}"
    yield ""
    yield from _table(
        ("question", "taken to be so", "where", *(record.service for record in records)),
        (
            (
                f"**{unknown.name}**: {unknown.question}",
                unknown.assumption,
                f"`{unknown.place}`",
                *(_spell(unknown.judge(record)) for record in records),
            )
            for unknown in UNKNOWNS
        ),
    )
    for record in records:
        yield ""
        yield f"## Shapes: {record.service}"
        yield ""
        yield from _table(("answer", "status", "keys and their types"), _shapes(record))
        yield ""
        headers = {masked(name.lower()) for exchange in record.exchanges for name, _ in exchange.headers}
        yield f"Headers: {listed(headers)}."
        yield ""
        yield from _strange_keys(record)


def _spell(verdict: Verdict) -> str:
    return f"*{verdict.state}*: {verdict.text}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _shapes(record: Record) -> Iterator[Sequence[str]]:
    """One row for each shape, with all the answers that have it."""
    names: dict[tuple[int, str], list[str]] = {}
    for name, exchange in record.plain.items():
        shape = shape_of(exchange.json) if exchange.status == OK else quoted(exchange).partition(": ")[2]
        names.setdefault((exchange.status, shape), []).append(name)
    for (status, shape), alike in names.items():
        yield ", ".join(alike), str(status), shape


OK = 200

OPEN = frozenset({"custom", "data", "event_filter", "extra_filter", "params", "previous_data", "s_query"})
"""Where keys may be the customer's own: of these, nothing is shown but that there is an object."""

_NAMES = {bool: "true or false", int: "integer", float: "number", str: "text", type(None): "null"}


def shape_of(*values: object) -> str:
    """The keys of JSON values and the types of what they hold; where there are several, those of all of them."""
    rows = [value for value in values if isinstance(value, dict)]
    items = [item for value in values if isinstance(value, list) for item in value]
    kinds = {_NAMES[type(value)] for value in values if not isinstance(value, dict | list)}
    if rows:
        kinds.add(f"{{{', '.join(_spell_key(key, rows) for key in sorted({key for row in rows for key in row}))}}}")
    if any(isinstance(value, list) for value in values):
        kinds.add(f"[{shape_of(*items) if items else ''}]")
    return " or ".join(sorted(kinds))


def _spell_key(key: str, rows: Sequence[Row]) -> str:
    values = [row[key] for row in rows if key in row]
    shown = ["object" if key in OPEN and isinstance(value, dict) else shape_of(value) for value in values]
    shape = " or ".join(sorted(set(shown))) if "object" in shown else shape_of(*values)
    return f"{masked(key)}{'' if len(values) == len(rows) else '?'}: {shape}"


def _strange_keys(record: Record) -> Iterator[str]:
    for kind in KINDS:
        if strange := unknown_keys(record.rows(kind), kind):
            yield f"Actions of the kind {kind} have keys that the schema does not: {listed(map(masked, strange))}."
