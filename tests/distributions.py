"""Whether the sdist and the wheel are what they should be: `python -m tests.distributions dist` (`make build`).

What has to be in them is read off this checkout, and what they say of themselves off pyproject.toml. The sdist has to
give the same two files once more, byte by byte, from another folder and at another time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message

ROOT = Path(__file__).parent.parent
PACKAGE = "closebulk_async"
VENDOR = f"{PACKAGE}/dashboard/static/vendor"

SUFFIXES = frozenset({".css", ".html", ".js", ".py", ".svg", ".txt", ".typed"})
"""Of all that the wheel installs. A new one is a decision."""

CACHES = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "_build"})

_LINK = re.compile(r"\]\((?!#)([^)]*)")
"""Where a link leads that is not to the page itself."""

BESIDE = frozenset({".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"})
"""What every sdist has without being told."""


def read_project() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def list_files(names: Iterable[str]) -> set[str]:
    """The files of the checkout below these names, without what tools leave there."""
    paths = [path for name in names for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in paths if CACHES.isdisjoint(path.parts)}


def judge_names(found: set[str], expected: set[str], *, what: str) -> Iterator[str]:
    """A line for each file too many, and for each that is missing."""
    yield from (f"{what} has {name}, which does not belong there" for name in sorted(found - expected))
    yield from (f"{what} has no {name}" for name in sorted(expected - found))


def judge_wheel(wheel: Path, project: dict[str, Any]) -> Iterator[str]:
    """Whether it installs the package and nothing else, and says of itself what the project says."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = next(name.removesuffix("/METADATA") for name in names if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    licenses = {f"{info}/licenses/{name}" for name in project["project"]["license-files"]}
    of_info = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")} | licenses
    expected = list_files([PACKAGE]) | of_info | {f"{PACKAGE}/py.typed"}
    yield from judge_names(names, expected, what="the wheel")
    yield from (f"the wheel has {name}, of a new type" for name in sorted(names & expected - of_info) if _is_odd(name))
    yield from judge_vendored(names)
    yield from judge_metadata(metadata, project["project"])


def _is_odd(name: str) -> bool:
    return PurePosixPath(name).suffix not in SUFFIXES


def judge_vendored(names: set[str]) -> Iterator[str]:
    """Whether a licence stands beside each file that others have written: `LICENSE-uPlot.txt` for `uPlot.*`."""
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.is_relative_to(VENDOR) and not path.name.startswith("LICENSE-"):
            terms = f"{VENDOR}/LICENSE-{path.name.partition('.')[0]}.txt"
            if terms not in names:
                yield f"the wheel has {name} without its licence, {terms}"


def judge_metadata(metadata: Message, project: dict[str, Any]) -> Iterator[str]:
    """Whether an index will show what pyproject.toml and README.md say."""
    extras = project["optional-dependencies"]
    wanted = {
        "Name": [project["name"]],
        "Summary": [project["description"]],
        "Requires-Python": [project["requires-python"]],
        "License-Expression": [project["license"]],
        "License-File": project["license-files"],
        "Classifier": project["classifiers"],
        "Provides-Extra": list(extras),
        "Description-Content-Type": ["text/markdown"],
    }
    for field, values in wanted.items():
        if sorted(found := metadata.get_all(field) or []) != sorted(values):
            yield f"the metadata say of {field}: {found}, and not {values}"
    n_needed = len(project["dependencies"]) + sum(map(len, extras.values()))
    if len(metadata.get_all("Requires-Dist") or []) != n_needed:
        yield f"the metadata do not name {n_needed} dependencies"
    description = bytes(metadata.get_payload(decode=True)).decode()
    if _LINK.sub("](", description) != _LINK.sub("](", (ROOT / "README.md").read_text(encoding="utf-8")):
        yield "the description is not README.md"
    if project.get("urls") and (relative := [link for link in _LINK.findall(description) if "://" not in link]):
        yield f"{len(relative)} links of the description lead nowhere on an index, such as {relative[0]}"


def judge_sdist(sdist: Path, project: dict[str, Any]) -> Iterator[str]:
    """Whether it holds what its tests and its documentation need, and nothing that a tool has left here."""
    with tarfile.open(sdist) as archive:
        members = [PurePosixPath(member.name) for member in archive.getmembers() if member.isfile()]
    found = {PurePosixPath(*path.parts[1:]).as_posix() for path in members}
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    yield from judge_names(found, list_files(included) | BESIDE, what="the sdist")


def judge_rebuild(folder: Path) -> Iterator[str]:
    """Whether the sdist gives both files again. Their times are those of unpacking, and so is their folder."""
    (sdist,) = folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(sdist) as archive:
        archive.extractall(scratch, filter="data")
        (unpacked,) = Path(scratch).iterdir()
        for path in unpacked.rglob("*"):
            path.touch()
        again = Path(scratch, "again")
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(again), str(unpacked)]
        subprocess.run(build, check=True, capture_output=True)
        for path in sorted(folder.iterdir()):
            if path.read_bytes() != Path(again, path.name).read_bytes():
                yield f"{path.name} is another one when it is built from the sdist"


def main(folder: str) -> int:
    """Write what is wrong; 1 where anything is."""
    project = read_project()
    (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
    wrong = [*judge_wheel(wheel, project), *judge_sdist(sdist, project), *judge_rebuild(Path(folder))]
    said = wrong or [f"{wheel.name} and {sdist.name} hold what they should, and the sdist gives both again"]
    sys.stdout.write("".join(f"{line}\n" for line in said))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
