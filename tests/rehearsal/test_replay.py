"""Whole trading days over stored prices: they reconcile, they survive kills, and they leave pages to look at."""

import os
import re
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from pysys.config import load_settings
from pysys.domain.errors import ConfigError
from pysys.rehearsal.days import TRADING_DAY
from pysys.rehearsal.demo import FIRST_DAY
from pysys.rehearsal.replay import run_replay
from pysys.store import schema
from pysys.store.unit import Store
from tests.rehearsal.conftest import PROJECT, environment, quiet

LAST_DAY = FIRST_DAY + timedelta(days=4)


def replay(settings, first=FIRST_DAY, last=LAST_DAY, *, notebooks=False):
    return run_replay(settings, first, last, notebooks=notebooks, fresh=False, progress=quiet)


def folder_of(outputs: Path, first: date, last: date) -> Path:
    return outputs / f"replay-{first}-{last}"


def what_happened(folder: Path) -> dict[str, list[tuple]]:
    """Everything that must not depend on how often the replay was killed."""
    chosen = {
        "fills": (schema.fills, ("execution_id", "strategy", "instrument", "contract", "quantity", "price")),
        "contracts": (schema.contract_positions, ("instrument", "contract", "position")),
        "strategies": (schema.strategy_positions, ("strategy", "instrument", "position")),
        "polls": (schema.account_polls, ("time", "total")),
        "targets": (schema.optimal_positions, ("instrument", "time", "lower", "upper", "reference_price")),
        "rolls": (schema.rolls, ("instrument", "time", "from_contract", "to_contract", "gap")),
        "orders": (schema.broker_orders, ("order_ref", "order_type", "created_at", "status", "filled_price")),
    }
    store = Store(f"sqlite:///{folder / 'state' / 'pysys.db'}")
    with store.read() as unit:
        found = {
            name: sorted(_untagged(row) for row in unit.connection.execute(select(*(table.c[c] for c in columns))))
            for name, (table, columns) in chosen.items()
        }
    store.close()
    return found


def _untagged(row) -> tuple:
    """Order references end in the tag of their database: 17-2-9f3a1c20."""
    return tuple(re.sub(r"^(\d+-\d+)-[0-9a-f]{8}", r"\1", each) if isinstance(each, str) else each for each in row)


@pytest.fixture(scope="module")
def calm(archive, tmp_path_factory):
    """The summary of a replay nobody disturbed."""
    return replay(load_settings(PROJECT, environment(archive, tmp_path_factory.mktemp("calm"))))


def test_a_replay_ends_with_the_brokers_positions_and_every_cent_explained(calm):
    assert calm.trades > 10
    assert calm.breaks == [] or all("optimal vs actual" in one for one in calm.breaks)
    assert calm.account_end - calm.account_start == pytest.approx(calm.pandl["total"], abs=0.005)
    parts = sum(calm.pandl[name] for name in ("instruments", "commission", "fx"))
    assert parts == pytest.approx(calm.pandl["total"], abs=0.005)
    assert calm.attention == []
    happened = what_happened(calm.folder)
    assert len({row[0] for row in happened["fills"]}) == len(happened["fills"])


def test_a_replay_killed_again_and_again_ends_as_an_undisturbed_one(calm, archive, tmp_path):
    outputs = tmp_path / "killed"
    command = [sys.executable, "-m", "pysys.cli", "replay", "--from", str(FIRST_DAY), "--to", str(LAST_DAY)]
    variables = {**os.environ, **environment(archive, outputs)}
    database = folder_of(outputs, FIRST_DAY, LAST_DAY) / "state" / "pysys.db"
    kills = 0
    for steps in (4, 11, 25, 40, None):
        process = subprocess.Popen(
            [*command, "--no-notebooks"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if steps is not None and _wait_for_runs(process, database, steps):
            process.send_signal(signal.SIGKILL)
            kills += 1
        errors = process.communicate()[1].decode()
    assert kills >= 3
    assert process.returncode == 0, errors

    assert what_happened(folder_of(outputs, FIRST_DAY, LAST_DAY)) == what_happened(calm.folder)


def _wait_for_runs(process: subprocess.Popen, database: Path, steps: int) -> bool:
    """Wait until that many runs have begun; False when the replay ended first."""
    while process.poll() is None:
        if database.exists() and _runs(database) >= steps:
            time.sleep(0.02 * (steps % 7))  # somewhere inside the step
            return process.poll() is None
        time.sleep(0.01)
    return False


def _runs(database: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_day_in_notebooks_leaves_every_notebook_executed_and_a_page_that_needs_nothing_else(settings):
    summary = replay(settings, FIRST_DAY, FIRST_DAY, notebooks=True)

    assert summary.attention == []
    day = summary.folder / str(FIRST_DAY)
    assert {folder.name for folder in day.iterdir()} == {step.name for step in TRADING_DAY}
    for page in day.glob("*/*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text, page
        assert not re.search(r"""(src|href)=["']https?:""", text), page
        assert len(list(page.parent.glob("*.ipynb"))) == len(list(page.parent.glob("*.html")))
    assert "<img" in next((day / "pandl").glob("*.html")).read_text(encoding="utf-8")
    index = (summary.folder / "index.html").read_text(encoding="utf-8")
    assert index.count(">done<") == len(TRADING_DAY)
    for link in re.findall(r'href="([^"]+)"', index):
        assert (summary.folder / link).exists(), link


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        (date(1999, 1, 4), date(1999, 1, 8), "no stored prices from 1999-01-04"),
        (LAST_DAY, FIRST_DAY, "before it begins"),
    ],
)
def test_days_without_prices_are_refused_and_nothing_is_left_behind(settings, first, last, sentence):
    with pytest.raises(ConfigError, match=sentence):
        replay(settings, first, last)
    assert not folder_of(settings.outputs, first, last).exists()
