"""Whether every public name has a type that no checker has to guess: `python -m tests.completeness` (`make types`).

pyright reads the package as a user's editor does, where only what is written counts: a type that it would infer may be
inferred otherwise elsewhere, and is called ambiguous.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PACKAGE = "closebulk_async"

OF_AIRFLOW = frozenset(f"{PACKAGE}.integrations.airflow.{name}" for name in ("BulkActionTrigger", "CloseBulkOperator"))
"""Their bases are Airflow's, which has an environment of its own (`make test-airflow`), and are unknown here."""


def read_report() -> dict[str, Any]:
    """What pyright says of the installed package, in JSON. It ends with 1 where anything is not known."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    if not answer.stdout.startswith("{"):
        raise SystemExit(f"pyright gave no report: {answer.stdout}{answer.stderr}")
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


def find_gaps(report: dict[str, Any]) -> list[str]:
    """A line for each public name whose type is not said, and one for each that was expected to be such and is not."""
    symbols = report.get("typeCompleteness", {}).get("symbols", [])
    gaps = {each["name"]: _explain(each) for each in symbols if _is_gap(each)}
    lines = [f"{name}: {why}" for name, why in sorted(gaps.items()) if name not in OF_AIRFLOW]
    lines += [f"{name}: has a type now, and needs no exception" for name in sorted(OF_AIRFLOW - gaps.keys())]
    return lines if symbols else [f"{PACKAGE}: pyright found no names in it"]


def _is_gap(symbol: dict[str, Any]) -> bool:
    return symbol["isExported"] and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])


def _explain(symbol: dict[str, Any]) -> str:
    reasons = [", ".join(map(str.strip, each["message"].splitlines())) for each in symbol["diagnostics"]]
    return "; ".join(reasons) or "one of its parts has no type"


def main() -> int:
    """Write the gaps; 1 where there are any."""
    report = read_report()
    gaps = find_gaps(report)
    said = "\n".join(gaps) or f"{len(report['typeCompleteness']['symbols'])} names have types, two of Airflow's aside"
    sys.stdout.write(f"{said}\n")
    return int(bool(gaps))


if __name__ == "__main__":
    sys.exit(main())
