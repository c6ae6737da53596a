"""The audit of the locks says which of three it is: vulnerable, well, or not known, for each pin."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from datetime import date
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.release.audit import Answers, Ignored, Vulnerability, judge, read_answers, read_ignored
from tests.release.services import Database, Index, plain_environment, vulnerability

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PINS = {"aiohttp": "3.14.5", "yarl": "1.25.0"}
IGNORED = '[[ignored]]\nid = "CVE-2026-1"\npackage = "yarl"\nreason = "Not ours."\nuntil = 2999-12-31\n'


@attrs.frozen
class Ended:
    """How an audit has ended."""

    code: int | None
    lines: list[str]


def lay_down(root: Path, pins: Mapping[str, str] = PINS, *, marker: str = "", ignored: str = "") -> None:
    """Put a lock of these pins, and the vulnerabilities that are ignored, below a folder."""
    folder = root / "requirements"
    folder.mkdir(exist_ok=True)
    lock = "".join(f"{name}=={version}{marker} \\\n    --hash=sha256:{'0' * 64}\n" for name, version in pins.items())
    (folder / "dev.txt").write_text(lock)
    (folder / "ignored-vulnerabilities.toml").write_text(ignored)


async def audit(root: Path, *options: str, **environment: str) -> Ended:
    """Audit the locks below a folder by the program, which keeps no answer for the next one."""
    given = ("--root", str(root), "--cache-dir", str(root / "cache"), *options)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.release.audit",
        *given,
        env=plain_environment() | environment,
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    return Ended(process.returncode, printed.decode().splitlines())


def of(database: Database) -> tuple[str, ...]:
    """The options that make pip-audit ask this one."""
    return ("--vulnerability-service", "osv", "--osv-url", database.url)


async def test_all_is_well(tmp_path: Path) -> None:
    """It is said of how many packages, and each of them was asked for, in its version."""
    lay_down(tmp_path)
    async with Database() as database:
        ended = await audit(tmp_path, "--complete", *of(database))
    assert ended == Ended(0, ["audit: none of 2 packages has a known vulnerability, 0 ignored"])
    assert sorted(database.asked) == sorted(PINS.items())


async def test_what_other_pythons_and_platforms_get_is_asked_for(tmp_path: Path) -> None:
    """pip-audit would leave out a pin whose marker is not true here, and refuse two versions of one package."""
    lay_down(tmp_path, {"sphinx": "9.0.4"}, marker=" ; sys_platform == 'no such one'")
    lock = tmp_path / "requirements" / "dev.txt"
    lock.with_name("other.txt").write_text(lock.read_text().replace("9.0.4", "9.2.0"))
    async with Database() as database:
        ended = await audit(tmp_path, "--complete", *of(database))
    assert ended.code == 0
    assert sorted(database.asked) == [("sphinx", "9.0.4"), ("sphinx", "9.2.0")]


async def test_a_vulnerable_package_fails_the_audit(tmp_path: Path) -> None:
    """It is named with all names of what is wrong with it, and with the version that has it no more."""
    lay_down(tmp_path, ignored=IGNORED)
    entries = {name: [vulnerability(name, fixed="99.1")] for name in PINS}
    async with Database(entries) as database:
        ended = await audit(tmp_path, *of(database))
    assert ended.code == 1
    assert ended.lines == [
        "VULNERABLE: aiohttp 3.14.5: CVE-2026-1, PYSEC-2026-1, fixed in 99.1",
        "audit: 1 known vulnerabilities, 0 of 2 packages NOT AUDITED",
    ]


async def test_an_answer_that_fails_leaves_a_package_unaudited(tmp_path: Path) -> None:
    """The other was audited; the program fails where all have to be."""
    lay_down(tmp_path)
    async with Database({"yarl": 503}) as database:
        ended = await audit(tmp_path, "--complete", *of(database))
    assert ended.code == 1
    assert ended.lines[0].startswith("NOT AUDITED: 1 of 2 packages, for example yarl: ")
    assert ended.lines[1] == "audit: NOT DONE for 1 of 2 packages, and nothing is known of any other"


async def test_nobody_who_answers_is_no_audit(tmp_path: Path) -> None:
    """It is said for all packages, with the reason; that fails only where the audit has to be complete."""
    lay_down(tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        ended = await audit(tmp_path, "--vulnerability-service", "osv", "--osv-url", url)
    assert ended.code == 0
    assert ended.lines[0].startswith("NOT AUDITED: 2 of 2 packages, for example aiohttp: ")
    assert "Connection refused" in ended.lines[0]
    assert ended.lines[1].startswith("audit: NOT DONE for 2 of 2 packages")


async def test_a_service_that_is_too_slow_is_no_audit(tmp_path: Path) -> None:
    """No process of pip-audit ends within no time at all."""
    lay_down(tmp_path)
    ended = await audit(tmp_path, "--deadline", "0")
    assert ended == Ended(
        0,
        [
            "NOT AUDITED: 2 of 2 packages, for example aiohttp: the service was too slow: 0 s",
            "audit: NOT DONE for 2 of 2 packages, and nothing is known of any other",
        ],
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates")
async def test_packages_that_the_index_does_not_know_are_not_audited(tmp_path: Path) -> None:
    """pip-audit itself finds no vulnerability in them, and ends well."""
    lay_down(tmp_path)
    async with Index(tmp_path, {"yarl": [vulnerability("yarl", fixed="1.26")]}) as index:
        ended = await audit(tmp_path, "--complete", **index.environment)
    assert ended.code == 1
    vulnerable, unknown, last = ended.lines
    assert vulnerable == "VULNERABLE: yarl 1.25.0: CVE-2026-1, PYSEC-2026-1, fixed in 1.26"
    assert unknown.startswith("NOT AUDITED: 1 of 2 packages, for example aiohttp: Dependency not found")
    assert last == "audit: 1 known vulnerabilities, 1 of 2 packages NOT AUDITED"


async def test_a_checkout_without_locks_is_refused(tmp_path: Path) -> None:
    """Nothing is not what is well."""
    assert (await audit(tmp_path)).code == 2


def test_a_pin_that_no_report_names_is_not_audited() -> None:
    """Whatever pip-audit leaves out, and for whatever reason."""
    report = '{"dependencies": [{"name": "attrs", "version": "26.1.0", "vulns": []}], "fixes": []}'
    pins = [("attrs", "26.1.0"), ("attrs", "26.2.0"), ("yarl", "1.25.0")]
    code, lines = judge(pins, [read_answers(report, errors="")], (), today=date(2026, 11, 30), complete=True)
    assert code == 1
    assert next(lines) == "NOT AUDITED: 2 of 3 packages, for example attrs: pip-audit left them out"


def test_what_is_no_report_answers_for_nothing() -> None:
    """The last line of the errors is the reason."""
    assert read_answers("", errors="Traceback\nOSError: no\n") == Answers(trouble="OSError: no")
    assert read_answers("", errors="").trouble == "pip-audit said nothing"


def test_an_ignored_vulnerability_is_that_of_one_package() -> None:
    """Through its last day."""
    last = date(2027, 1, 31)
    ignored = Ignored(id="CVE-1", package="yarl", reason="Not ours.", until=last)
    found = Vulnerability(pin=("yarl", "1.0"), names=frozenset({"CVE-1", "PYSEC-1"}), fixed_in=())
    assert ignored.covers(found, today=last)
    pins, answers = [found.pin], [Answers(audited=frozenset({found.pin}), found=(found,))]
    code, lines = judge(pins, answers, [ignored], today=last, complete=True)
    assert (code, *lines) == (0, "audit: none of 1 packages has a known vulnerability, 1 ignored")
    code, lines = judge(pins, answers, [ignored], today=date(2027, 2, 1), complete=False)
    assert code == 1
    assert "CVE-1 of yarl is ignored no longer" in lines
    assert not ignored.covers(found, today=date(2027, 2, 1))
    assert not ignored.covers(attrs.evolve(found, pin=("attrs", "1.0")), today=last)
    assert not ignored.covers(attrs.evolve(found, names=frozenset({"CVE-2"})), today=last)


def test_what_is_ignored_for_nothing_is_said() -> None:
    """Nobody has to wait for its date: it fails where the audit has to be complete, unless nobody answered for it."""
    pin, today = ("yarl", "1.0"), date(2027, 1, 31)
    ignored = Ignored(id="CVE-1", package="yarl", reason="Not ours.", until=today)
    line = "CVE-1 of yarl is ignored, and nothing that was found is that"
    answers = [Answers(audited=frozenset({pin}))]
    for pins, complete in (([pin], False), ([pin], True), ([("attrs", "1.0")], False)):
        code, lines = judge(pins, answers, [ignored], today=today, complete=complete)
        assert (code, line in lines) == (int(complete), True)
    _, lines = judge([pin], [Answers()], [ignored], today=today, complete=True)
    assert line not in lines


@pytest.mark.parametrize("row", ['reason = ""\nuntil = 2027-01-31', "until = 2027-01-31", 'reason = "Not ours."'])
def test_what_is_ignored_has_a_reason_and_a_date(tmp_path: Path, row: str) -> None:
    """A row that lacks one of them is refused."""
    file = tmp_path / "ignored.toml"
    file.write_text(f'[[ignored]]\nid = "CVE-1"\npackage = "yarl"\n{row}\n')
    with pytest.raises((TypeError, ValueError)):
        read_ignored(file)


def test_our_own_list_can_be_read() -> None:
    """Whatever it ignores has a reason and a date."""
    from tests.release.locks import ROOT

    read_ignored(ROOT / "requirements" / "ignored-vulnerabilities.toml")
