"""Which test reproduces which incident. `pytest -m incident` runs them; `python -m tests.test_incidents` lists them."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# What happened to somebody, in a sentence; each is done again by the tests that carry its id.
INCIDENTS = {
    "E1": "a live order was taken for cancelled, and sent again",
    "E2": "an order stuck or declined was tried without end, and nobody told",
    "E3": "dead children of an order filled late, beside their replacements",
    "E4": "fills were never noticed, because no status said so",
    "E5": "commissions that came late stayed zero for good",
    "E6": "executions during a disconnect were lost",
    "E7": "a restart counted fills twice",
    "E8": "no answer about positions was read as flat",
    "E9": "a crash left an order or a fill in one place and not in the other",
    "E10": "limits bound only orders a strategy made, not positions held",
    "E11": "the kill switch needed what was down, or was forgotten by a restart",
    "E12": "paper was configured, and live was connected",
    "E13": "legs of a spread that filled in parts were booked wrong",
    "E14": "a spread was refused for a price off the tick",
    "E15": "orders of the last session could not be cancelled",
    "R1": "roll, strategy and manual orders of one instrument collided, and stopped every other",
    "R2": "an order through zero during a close was traded round and round",
    "R3": "a close during a roll left one month long and the next short",
    "R4": "a forced roll waited for a spread nobody would trade, and its balance stood beside the position",
    "R5": "an expiry came as a surprise",
}


def carriers() -> Iterator[tuple[str, str]]:
    """(incident, test) of every mark in the tests, read from their source."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.incident":
                        incident = ast.literal_eval(mark.args[0])
                        yield incident, f"{path.relative_to(TESTS.parent)}::{node.name}"


def test_every_incident_is_reproduced_by_a_test_and_no_test_names_another():
    assert {incident for incident, _ in carriers()} == set(INCIDENTS)


if __name__ == "__main__":
    tests = list(carriers())
    for incident, what in INCIDENTS.items():
        sys.stdout.write(f"{incident:4} {what}\n")
        sys.stdout.writelines(f"       {test}\n" for carried, test in tests if carried == incident)
