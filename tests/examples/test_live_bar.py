"""The notebook: it runs from top to bottom, and is stored as it is before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

from .programs import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.traps import Trap

NOTEBOOK = EXAMPLES / "live_bar.ipynb"


def read() -> Any:  # noqa: ANN401 - nbformat has no types for what is in a notebook
    """The notebook, as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # it is


def test_it_is_stored_without_outputs() -> None:
    """It is a valid notebook of the current format, in which nothing was run."""
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    assert "LIVE = False" in code[0].source


async def test_its_bar_shows_the_end(trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by a kernel, the one bar is full in the end and says done; nobody but its own simulator is asked."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = read()
    settings = next(cell for cell in notebook.cells if cell.cell_type == "code")
    settings.source = settings.source.replace("SECONDS = 5.0", "SECONDS = 0.5").replace("LEADS = 100", "LEADS = 7")
    client = NotebookClient(notebook, timeout=50, resources={"metadata": {"path": str(EXAMPLES)}})
    await client.async_execute(env=trap.env | {"IPYTHONDIR": str(tmp_path)})
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    told, counted, bar = outputs
    assert told.text.endswith("Nothing is sent to Close.\n")
    assert counted.text == "7 leads match\n"
    assert bar.data["text/html"] == '<label><progress value="1.000"></progress> done: 7 of 7</label>'
    assert trap.caught == []
