"""The benchmarks run: a figure that nobody can measure again is worth nothing. Speed itself is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_quick_run_writes_its_table(tmp_path: Path) -> None:
    """Decoding alone needs no server: JSON and Markdown come out, with the ratio that the README's promise is about."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "decoding", "--output", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "decoding, page: closebulk_async to orjson" in (tmp_path / "latest.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "latest.json").read_text(encoding="utf-8"))
