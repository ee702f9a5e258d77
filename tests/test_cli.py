"""The command line: exit codes, one or two sentences, and nothing half done."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pysys.cli import run
from pysys.store.database import connect
from pysys.store.unit import Store
from tests.control.conftest import COMPLETE, OPEN, make_home, write_notebook

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_home(tmp_path / "project")
    monkeypatch.setenv("PYSYS_HOME", str(folder))
    write_notebook(folder / "notebooks/processes/small.ipynb", [OPEN, COMPLETE], parameters="count: int = 1")
    return folder


@pytest.fixture
def pysys(home: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command; returns exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return command


def test_init_run_status_and_finish(pysys: Command, home: Path) -> None:
    code, out, _ = pysys("init")
    assert (code, (home / "outputs/state/pysys.db").exists()) == (0, True)
    assert "30 instruments, 60 rows new or changed" in out
    assert "is up to date; 30 instruments, 0 rows" in pysys("init")[1]
    code, out, err = pysys("run", "small", "-p", "count=3")
    assert (code, err) == (0, "")
    page = Path(out.splitlines()[-1])
    assert page.read_text().startswith("<!DOCTYPE html>")
    code, out, _ = pysys("status")
    assert code == 0
    assert "run_systems" in out
    assert "small" in out
    assert pysys("stop", "all")[0] == 0
    code, _, err = pysys("run", "run_stack_handler")
    assert (code, err.startswith("run_stack_handler is on STOP")) == (3, True)
    assert pysys("go", "all")[0] == 0
    assert pysys("finish", "all")[1] == "0 dead runs marked as finished.\n"
    (home / "notebooks/processes/small.ipynb").write_text(
        write_notebook(home / "x.ipynb", [OPEN, "1/0"]).read_text(),
    )
    code, _, err = pysys("run", "small")
    assert code == 1
    assert err.startswith("small failed: ZeroDivisionError: division by zero See ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "small", "-p", "cuont=3"], "Did you mean count?"),
        (["run", "small", "-p", "count=three"], "parameter count is int: 'three'"),
        (["run", "small", "-p", "count"], "'count' is not NAME=VALUE"),
        (["run", "smal"], "Did you mean small?"),
        (["run", "small"], "Run `pysys init`"),
        (["status"], "Run `pysys init`"),
        (["import-prices", "nowhere"], "There is no folder nowhere"),
        (["replay", "--from", "2024-01-01"], "Missing option '--to'"),
        (["replay", "--from", "yesterday", "--to", "2024-01-01"], "yesterday"),
        (["finnish", "all"], "No such command 'finnish'"),
        (["go", "run_sytems"], "Did you mean run_systems?"),
    ],
)
def test_wrong_usage_is_exit_code_2_a_sentence_and_nothing_else(
    pysys: Command, home: Path, arguments: list[str], sentence: str
) -> None:
    code, out, err = pysys(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not (home / "outputs").exists()


def test_an_unknown_key_or_variable_names_the_nearest(
    pysys: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "parameters/private").mkdir()
    (home / "parameters/private/mine.yaml").write_text("base_curency: EUR")
    code, _, err = pysys("config")
    assert (code, "Did you mean base_currency?" in err) == (2, True)
    (home / "parameters/private/mine.yaml").write_text("")
    monkeypatch.setenv("PYSYS_TIMEZON", "UTC")
    code, _, err = pysys("init")
    assert (code, "PYSYS_TIMEZON" in err, "Did you mean timezone?" in err) == (2, True, True)
    assert not (home / "outputs").exists()


def test_init_makes_an_instrument_of_every_spread_or_says_what_is_wrong_with_it(pysys: Command, home: Path) -> None:
    own = home / "parameters/private/spreads.yaml"
    own.parent.mkdir(exist_ok=True)
    legs = "[{instrument: US2, ratio: 2}, {instrument: %s, ratio: -1}]"
    own.write_text("spread_instruments: {NOTES: {legs: %s}}" % (legs % "TIN"))
    code, _, err = pysys("init")
    assert (code, "spread_instruments.NOTES: its leg TIN is no instrument" in err) == (2, True)
    own.write_text("spread_instruments: {NOTES: {legs: %s}}" % (legs % "US5"))
    assert "31 instruments, 61 rows new or changed" in pysys("init")[1]
    assert "31 instruments, 0 rows" in pysys("init")[1]


def test_config_shows_values_and_origins_but_no_secret(pysys: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSYS_EMAIL_PWD", "canary-canary")
    code, out, _ = pysys("config")
    assert code == 0
    assert "[PYSYS_EMAIL_PWD]" in out
    assert "[parameters/defaults.yaml]" in out
    assert "canary-canary" not in out


def test_a_database_of_a_later_version_is_left_alone(pysys: Command, home: Path) -> None:
    pysys("init")
    engine = connect(f"sqlite:///{home / 'outputs/state/pysys.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    engine.dispose()
    for command in (["run", "small"], ["init"], ["status"]):
        code, _, err = pysys(*command)
        assert (code, "newer than" in err) == (2, True)
    assert not list((home / "outputs").glob("*/small/*.ipynb"))


def test_a_database_is_for_one_thing(pysys: Command, home: Path) -> None:
    pysys("init")
    code, _, err = pysys("init", "--environment", "demo")
    assert (code, "This database is for production, not for demo" in err) == (2, True)
    store = Store(f"sqlite:///{home / 'outputs/state/pysys.db'}")
    with store.read() as unit:
        environment = unit.runs.environment()
    store.close()
    assert environment is not None
    assert (environment.name, environment.base_currency) == ("production", "USD")


@pytest.mark.parametrize("place", ["file/outputs", "/proc/outputs"])
def test_outputs_that_cannot_be_written(
    pysys: Command, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("PYSYS_OUTPUTS_DIRECTORY", place)
    for command in (["init"], ["run", "small"]):
        code, out, err = pysys(*command)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "Nothing can be written to" in err


def test_an_unexpected_error_is_one_sentence_and_its_traceback_is_kept(pysys: Command, home: Path) -> None:
    pysys("init")
    for path in (home / "outputs/state").iterdir():
        path.write_bytes(b"this is not a database at all " * 100)
    code, _, err = pysys("status")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "file is not a database" in err
    assert "Traceback" in (home / "outputs/errors.log").read_text()


def in_a_process(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_help_loads_nothing_slow() -> None:
    loaded = in_a_process(
        "import json, sys\nfrom pysys.cli import run\n"
        "code = run(['--help'])\n"
        "slow = ['papermill', 'sqlalchemy', 'nbconvert', 'numpy', 'matplotlib', 'pandas', 'pydantic', 'yaml']\n"
        "print(json.dumps([code, [name for name in slow if name in sys.modules]]))"
    )
    assert loaded == [0, []]


def test_a_backtest_needs_neither_notebooks_nor_a_database(tmp_path: Path) -> None:
    arguments = ["backtest", str(tmp_path / "none.yaml"), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    loaded = in_a_process(
        "import json, sys\nfrom pysys.cli import run\n"
        f"code = run({arguments!r})\n"
        "import pysys.data.csv_layout\n"
        "slow = ['papermill', 'sqlalchemy', 'nbconvert', 'jupyter_client', 'matplotlib', 'pandas']\n"
        "print(json.dumps([code, [name for name in slow if name in sys.modules]]))"
    )
    assert loaded == [2, []]
    assert not (tmp_path / "out").exists()
