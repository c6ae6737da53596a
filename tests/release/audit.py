"""Ask pip-audit about every pin of every lock, and judge each of its answers.

`python -m tests.release.audit` exits with 1 where a pin is known as vulnerable. What was not answered for, and what is
ignored although nobody found it, is said aloud and, with `--complete`, exits with 1 as well. Options that are not its
own go to pip-audit.

pip-audit by itself says «No known vulnerabilities found» when the service has answered 404 to everything, and leaves
out what a lock has for another Python or platform. Its first service, the index, is the better one to ask: the other
one (`--vulnerability-service osv`) answers for a package that it has never heard of as for one that is well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tests.release.locks import ROOT, find_locks, read_pins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Pin = tuple[str, str]
"""A name and a version."""

PARTS = 4
"""So many processes ask at once: pip-audit asks for one package after the other."""

DEADLINE = 120.0
"""Seconds for each of them. pip-audit gives up a silent service after 15, but not one that is slow every time."""


@attrs.frozen(kw_only=True)
class Vulnerability:
    """What the service knows of one pin."""

    pin: Pin
    names: frozenset[str]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        name, version = self.pin
        fixed = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "not fixed yet"
        return f"{name} {version}: {', '.join(sorted(self.names))}, {fixed}"


@attrs.frozen(kw_only=True)
class Ignored:
    """A vulnerability that is passed over until the end of a day."""

    id: str
    package: str
    reason: str = attrs.field(validator=attrs.validators.min_len(1))
    until: date

    def covers(self, found: Vulnerability, *, today: date) -> bool:
        """Whether it speaks of this one, today."""
        return today <= self.until and found.pin[0] == self.package and self.id in found.names


@attrs.frozen(kw_only=True)
class Answers:
    """What a process of pip-audit has said: the pins that the service knew, what it knew, and why it knew no more."""

    audited: frozenset[Pin] = frozenset()
    found: tuple[Vulnerability, ...] = ()
    trouble: str = ""


def read_answers(report: str, *, errors: str) -> Answers:
    """Those in a report as JSON; none where there is no report, because pip-audit broke off."""
    try:
        rows: Sequence[Mapping[str, Any]] = json.loads(report)["dependencies"]
    except ValueError:
        lines = errors.strip().splitlines() or ["pip-audit said nothing"]
        return Answers(trouble=lines[-1])
    known = {(row["name"], row["version"]): row["vulns"] for row in rows if "skip_reason" not in row}
    found = (
        Vulnerability(pin=pin, names=frozenset({vuln["id"], *vuln["aliases"]}), fixed_in=tuple(vuln["fix_versions"]))
        for pin, vulns in known.items()
        for vuln in vulns
    )
    skipped = [row["skip_reason"] for row in rows if "skip_reason" in row]
    return Answers(audited=frozenset(known), found=tuple(found), trouble=skipped[0] if skipped else "")


def ask(pins: Sequence[Pin], *, options: Sequence[str], deadline: float) -> Answers:
    """What pip-audit says of pins, of which no two have the same name."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "pins.txt")
        listed.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--requirement", str(listed)]
        shown = ["--format", "json", "--desc", "off", "--aliases", "on", "--progress-spinner", "off"]
        try:
            ended = subprocess.run(
                [*command, *shown, *options], capture_output=True, text=True, check=False, timeout=deadline
            )
        except subprocess.TimeoutExpired:
            return Answers(trouble=f"the service was too slow: {deadline:g} s")
    return read_answers(ended.stdout, errors=ended.stderr)


def ask_for_all(pins: Sequence[Pin], *, options: Sequence[str], deadline: float) -> list[Answers]:
    """What pip-audit says of sorted pins: versions of one name are neighbours, and so each is in another part."""
    parts = [part for number in range(PARTS) if (part := pins[number::PARTS])]
    with ThreadPoolExecutor(PARTS) as pool:
        return list(pool.map(partial(ask, options=options, deadline=deadline), parts))


def read_ignored(file: Path) -> tuple[Ignored, ...]:
    """The vulnerabilities that a file names; a row without a reason or a date raises."""
    return tuple(Ignored(**row) for row in tomllib.loads(file.read_text(encoding="utf-8")).get("ignored", ()))


def judge(
    pins: Sequence[Pin], answers: Sequence[Answers], ignored: Sequence[Ignored], *, today: date, complete: bool
) -> tuple[int, Iterator[str]]:
    """An exit code, and lines of which the last one tells it all."""
    found = [each for one in answers for each in one.found]
    bad = [each for each in found if not any(entry.covers(each, today=today) for entry in ignored)]
    unknown = set(pins).difference(*(one.audited for one in answers))
    silent = {name for name, _ in unknown}
    current = [entry for entry in ignored if today <= entry.until and entry.package not in silent]
    idle = [entry for entry in current if not any(entry.covers(each, today=today) for each in found)]
    trouble = next((one.trouble for one in answers if one.trouble), "pip-audit left them out")

    def lines() -> Iterator[str]:
        yield from (f"VULNERABLE: {each}" for each in bad)
        yield from (f"{entry.id} of {entry.package} is ignored no longer" for entry in ignored if today > entry.until)
        yield from (f"{entry.id} of {entry.package} is ignored, and nothing that was found is that" for entry in idle)
        if unknown:
            yield f"NOT AUDITED: {len(unknown)} of {len(pins)} packages, for example {min(unknown)[0]}: {trouble}"
        if bad:
            yield f"audit: {len(bad)} known vulnerabilities, {len(unknown)} of {len(pins)} packages NOT AUDITED"
        elif unknown:
            yield f"audit: NOT DONE for {len(unknown)} of {len(pins)} packages, and nothing is known of any other"
        else:
            yield f"audit: none of {len(pins)} packages has a known vulnerability, {len(found)} ignored"

    return int(bool(bad) or (complete and bool(unknown or idle))), lines()


def main() -> int:
    """Audit the locks of a checkout and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose requirements are audited")
    parser.add_argument(
        "--complete",
        action="store_true",
        help="exit with 1 where a pin was not answered for, or one is ignored for nothing",
    )
    parser.add_argument("--deadline", type=float, default=DEADLINE, help="seconds for a quarter of the pins")
    given, options = parser.parse_known_args()
    pins = sorted({pin for lock in find_locks(given.root) for pin in read_pins(lock)})
    if not pins:
        parser.error(f"{given.root} has no locks")
    ignored = read_ignored(given.root / "requirements" / "ignored-vulnerabilities.toml")
    answers = ask_for_all(pins, options=options, deadline=given.deadline)
    code, lines = judge(pins, answers, ignored, today=datetime.now(UTC).date(), complete=given.complete)
    print(*lines, sep="\n")  # noqa: T201 - printing is what the program does
    return code


if __name__ == "__main__":
    sys.exit(main())
