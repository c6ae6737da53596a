"""The judge of sdist and wheel sees what is too much, what is missing and what is told wrongly."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import tomllib
import zipfile
from email.message import Message
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hatch_fancy_pypi_readme.hooks import FancyReadmeMetadataHook

from tests.distributions import (
    BESIDE,
    PACKAGE,
    ROOT,
    VENDOR,
    judge_metadata,
    judge_sdist,
    judge_vendored,
    judge_wheel,
    list_files,
    read_project,
)
from tests.release.ready import git

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INFO = f"{PACKAGE}-1.dist-info"


def metadata_of(project: dict[str, Any], **changes: str) -> Message:
    """What a wheel of the project says of itself, one value for each field, but for `changes`."""
    message = Message()
    fields = {
        "Name": [project["name"]],
        "Summary": [project["description"]],
        "Requires-Python": [project["requires-python"]],
        "License-Expression": [project["license"]],
        "License-File": project["license-files"],
        "Classifier": project["classifiers"],
        "Provides-Extra": list(project["optional-dependencies"]),
        "Requires-Dist": [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())],
        "Description-Content-Type": ["text/markdown"],
    }
    for field, values in (fields | {name.replace("_", "-"): [value] for name, value in changes.items()}).items():
        for value in values:
            message[field] = value
    message.set_payload((ROOT / "README.md").read_bytes())
    return message


def write_wheel(folder: Path, names: Iterable[str]) -> Path:
    """A wheel of empty files, whose metadata are right."""
    path = folder / "made-up.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
        said = metadata_of(read_project()["project"])
        archive.writestr(f"{INFO}/METADATA", b"".join((_head(said), b"\n", (ROOT / "README.md").read_bytes())))
    return path


def _head(message: Message) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in message.items()).encode()


def names_of_wheel() -> set[str]:
    """What a right wheel holds besides its metadata."""
    licenses = {f"licenses/{name}" for name in read_project()["project"]["license-files"]}
    return list_files([PACKAGE]) | {f"{INFO}/{name}" for name in {"RECORD", "WHEEL", "entry_points.txt"} | licenses}


@pytest.mark.parametrize(
    ("added", "removed", "said"),
    [
        (set(), set(), []),
        ({"tests/conftest.py"}, set(), ["the wheel has tests/conftest.py, which does not belong there"]),
        (set(), {f"{PACKAGE}/py.typed"}, [f"the wheel has no {PACKAGE}/py.typed"]),
        (set(), {f"{INFO}/licenses/LICENSE"}, [f"the wheel has no {INFO}/licenses/LICENSE"]),
    ],
)
def test_wheel(tmp_path: Path, added: set[str], removed: set[str], said: list[str]) -> None:
    """Each file that is too much or missing is a line."""
    wheel = write_wheel(tmp_path, sorted((names_of_wheel() | added) - removed))
    assert list(judge_wheel(wheel, read_project())) == said


@pytest.mark.parametrize("changes", [{"Name": "other"}, {"Requires_Python": ">=3.8"}, {"Requires_Dist": "aiohttp"}])
def test_metadata(changes: dict[str, str]) -> None:
    """One field that says something else is one line; when all agree there is none."""
    project = read_project()["project"]
    assert list(judge_metadata(metadata_of(project), project)) == []
    assert len(list(judge_metadata(metadata_of(project, **changes), project))) == 1


def test_description_is_the_readme() -> None:
    """Another text is a line."""
    project = read_project()["project"]
    metadata = metadata_of(project)
    metadata.set_payload(b"UNKNOWN")
    assert list(judge_metadata(metadata, project)) == ["the description is not README.md"]


@pytest.fixture
def published() -> dict[str, Any]:
    """The project as it will be when it knows where it is published: as docs/releasing.md tells."""
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "releasing.md").read_text(), re.DOTALL)
    added, project = tomllib.loads(block), read_project()
    project["project"]["urls"] = added["project"]["urls"]
    project["tool"]["hatch"]["metadata"] = added["tool"]["hatch"]["metadata"]
    return project


def test_links_of_the_description_are_whole(published: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the metadata have an address, each that is not is counted; the substitutions of the page leave none."""
    project = published["project"]
    metadata = metadata_of(project)
    (said,) = judge_metadata(metadata, project)
    assert said.endswith("links of the description lead nowhere on an index, such as docs/start.md")
    config = published["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert read_project()["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"].items() <= config.items()
    monkeypatch.chdir(ROOT)
    made: dict[str, Any] = {}
    FancyReadmeMetadataHook(str(ROOT), config).update(made)
    metadata.set_payload(made["readme"]["text"].encode())
    assert list(judge_metadata(metadata, project)) == []


def test_vendored_file_needs_its_licence() -> None:
    """A file of others without the terms on which it is shipped is a line."""
    names = {f"{VENDOR}/uPlot.min.css", f"{VENDOR}/LICENSE-uPlot.txt", f"{VENDOR}/other.js", f"{PACKAGE}/x.js"}
    assert list(judge_vendored(names)) == [
        f"the wheel has {VENDOR}/other.js without its licence, {VENDOR}/LICENSE-other.txt"
    ]


@pytest.mark.parametrize(("added", "removed"), [(".venv/bin/python", None), (None, "tests/conftest.py"), (None, None)])
def test_sdist(tmp_path: Path, added: str | None, removed: str | None) -> None:
    """An environment that was packed, or a test that was not, is a line."""
    project = read_project()
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    names = list_files(included) | BESIDE
    path = tmp_path / "made-up.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in sorted(names - {removed} | ({added} if added else set())):
            archive.addfile(tarfile.TarInfo(f"made-up/{name}"), io.BytesIO())
    (*found,) = judge_sdist(path, project)
    expected = [f"the sdist has {added}, which does not belong there"] if added else []
    assert found == expected + ([f"the sdist has no {removed}"] if removed else [])


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="looks at a checkout")
def test_names_of_tracked_files_are_plain() -> None:
    """A slip in an editor leaves a file with an odd name, and whoever adds all files does not see it."""
    assert [name for name in git(ROOT, "ls-files") if not re.fullmatch(r"[\w./-]+", name, re.ASCII)] == []
