"""The engine started by a notebook and by hand, and interventions typed into a shell."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pysys.cli import run
from pysys.config import Settings, load_settings
from pysys.control.ledger import open_entry
from pysys.control.opening import open_desk
from pysys.control.outcome import RunFailed
from pysys.control.setup import initialise
from pysys.control.trading import EngineReport, engine_log, running_engine, work_orders
from pysys.desk import Desk
from pysys.execution.lease import claim_trading
from pysys.store.repository import Author
from pysys.store.runs import RunStatus
from tests.control.conftest import make_home

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    home = make_home(tmp_path / "project")
    monkeypatch.setenv("PYSYS_HOME", str(home))
    settings = load_settings(home, environment={})
    initialise(settings)
    return settings


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    opened = open_desk(settings, Author("test"))
    yield opened
    opened.store.close()


@pytest.fixture
def pysys(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command; returns exit code, stdout, stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return command


def test_the_notebook_s_engine_is_a_process_of_its_own_and_is_summed_up(desk: Desk) -> None:
    result = work_orders(desk, until=desk.clock.now() + timedelta(seconds=8))

    assert isinstance(result, EngineReport)
    result.raise_if_incomplete()
    assert result.run.status is RunStatus.DONE
    assert result.run.process == "run_stack_handler"
    assert result.table().loc["families ended at end of day", "count"] == 0
    assert result.summary()["engine_run"] == result.run.id
    assert running_engine(desk) is None
    assert engine_log(desk).read_text().startswith("engine done in ")


def test_an_engine_that_cannot_start_is_a_failed_run_with_its_sentence(desk: Desk) -> None:
    lease = claim_trading(desk.store, "PAPER-1")

    with pytest.raises(RunFailed, match="is already being run by process"):
        work_orders(desk, until=desk.clock.now() + timedelta(seconds=5)).raise_if_incomplete()

    lease.release()


def test_an_engine_that_runs_is_found_and_one_that_is_dead_is_not(desk: Desk) -> None:
    assert running_engine(desk) is None
    entry = open_entry(desk.store, desk.clock, desk.config, "engine", {}, process="run_stack_handler")
    found = running_engine(desk)
    assert found is not None
    assert found.id == entry.run_id
    entry.close("the end")
    assert running_engine(desk) is None


def test_the_engine_refuses_the_wrong_environment_and_the_wrong_time(
    pysys: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSYS_BROKER_ENVIRONMENT", "live")
    code, _, err = pysys("engine", "--now")
    assert (code, err) == (
        2,
        "Account PAPER-1 is paper, but broker_environment is live. Log in to the other account, or change "
        "broker_environment if that is what you mean.\n",
    )
    monkeypatch.delenv("PYSYS_BROKER_ENVIRONMENT")
    monkeypatch.setenv("PYSYS_PROCESS_CONFIGURATION_STOP_TIME", "{default: '00:01'}")
    monkeypatch.setenv("PYSYS_PROCESS_CONFIGURATION_START_TIME", "{default: '00:00'}")
    code, _, err = pysys("engine")
    assert (code, "The engine runs from 00:00 to 00:01 UTC" in err) == (3, True)
    assert pysys("stop", "run_stack_handler")[0] == 0
    code, _, err = pysys("engine", "--now")
    assert (code, "is on STOP; `pysys go run_stack_handler` lets it run" in err) == (3, True)


def test_interventions_from_a_shell(pysys: Command, settings: Settings) -> None:
    assert pysys("kill-switch", "status") == (0, "The kill switch is off and was never engaged.\n", "")
    code, _, err = pysys("kill-switch", "on")
    assert (code, "Missing option '--why'" in err) == (2, True)
    code, out, _ = pysys("kill-switch", "on", "--why", "a story")
    assert (code, out.startswith("done: The kill switch is engaged. Nothing new is sent")) == (0, True)
    assert not (settings.state / "exchange.db").exists()  # it needed no broker
    assert "is ENGAGED, by" in pysys("kill-switch", "status")[1]
    order = ["-p", "strategy=example", "-p", "instrument=CORN", "-p", "trade=2", "--why", "a story"]
    code, _, err = pysys("command", "run", "manual_order", *order)
    assert (code, err) == (3, "refused: The kill switch is engaged.\n")
    assert pysys("kill-switch", "off", "--why", "it is over")[0] == 0
    code, out, _ = pysys("command", "run", "manual_order", *order, "--token", "mine")
    assert (code, pysys("command", "run", "manual_order", *order, "--token", "mine")[1]) == (0, out)
    stacks = pysys("order", "list")[1].splitlines()
    assert [line.split()[:5] for line in stacks[1:]] == [["instrument", "1", "example", "CORN", "+2"]]
    code, _, err = pysys("order", "cancel", "1-1", "--why", "a story")
    assert (code, err.startswith("refused: Neither our books nor the broker's open orders")) == (3, True)
    code, _, err = pysys("command", "run", "manual_ordr", "--why", "a story")
    assert (code, "There is no intervention manual_ordr" in err) == (2, True)
    history = pysys("command", "list")[1].splitlines()
    assert [line.split()[2:4] for line in history[1:]] == [
        ["cancel_broker_order", "refused"],
        ["manual_order", "done"],
        ["release_kill_switch", "done"],
        ["manual_order", "refused"],
        ["engage_kill_switch", "done"],
    ]
