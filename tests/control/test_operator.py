"""What an operator sees and says from a shell: processes, whatever their times, and who holds the right to trade."""

from datetime import time, timedelta
from pathlib import Path

import pytest

from pysys.clock import SystemClock
from pysys.config import Settings, load_settings
from pysys.control.operator import change_status, status_lines
from pysys.control.process import process_names
from pysys.control.setup import initialise
from pysys.domain.process_rules import ProcessStatus
from pysys.store.machine import Holder, boot_id, host_name, this_process
from pysys.store.unit import Store
from tests.control.conftest import with_changes

LIVING = this_process("run")
DEAD = Holder(host_name(), 2**22 + 7, boot_id(), "run")
ELSEWHERE = Holder("another-machine", 4711, "boot", "run")


@pytest.fixture
def settings(home: Path) -> Settings:
    found = load_settings(home, environment={})
    initialise(found)
    return found


@pytest.mark.parametrize("starts", [{}, {"run_systems": time(20, 5)}, {"default": time(0, 1)}])
@pytest.mark.parametrize("stops", [{}, {"run_systems": time(23, 50)}])
def test_every_process_can_be_stopped_and_shown_whatever_times_are_configured(settings, starts, stops) -> None:
    changed = with_changes(
        settings,
        process_configuration_start_time=starts,
        process_configuration_stop_time=stops,
        process_configuration_methods={"run_reports": {}, "run_systems": {}},
    )

    said = change_status(changed, "all", "STOP")

    names = ["run_systems", "run_reports"] if "run_systems" in starts else ["run_reports", "run_systems"]
    assert process_names(changed.config) == names  # those with a time come first
    assert said == [f"{name} is on STOP." for name in names]
    store = Store(settings.database_url)
    with store.read() as unit:
        assert {unit.runs.process(name).status for name in names} == {ProcessStatus.STOP}
    store.close()
    (line,) = [line for line in status_lines(changed, runs=3) if line.startswith("run_reports ")]
    assert line.endswith("00:01-" if "default" in starts else "not configured")


def test_nobody_holds_the_right_to_trade(settings: Settings) -> None:
    assert "ENGINE  none: nobody holds the right to trade" in status_lines(settings, runs=1)


@pytest.mark.parametrize(
    ("holder", "silent", "state"), [(LIVING, 12, "alive"), (ELSEWHERE, 12, "alive"), (ELSEWHERE, 90, "expired"),
                                    (LIVING, 90, "expired"), (DEAD, 12, "gone")]
)  # fmt: skip
def test_the_engine_is_shown_with_its_process_and_its_last_sign_of_life(settings, holder, silent, state) -> None:
    store = Store(settings.database_url)
    with store.write() as unit:
        beaten = SystemClock().now() - timedelta(seconds=silent)
        unit.runs.claim("engine:PAPER-1", holder, beaten, timedelta(seconds=60))
        unit.commit()
    store.close()

    (line,) = [line for line in status_lines(settings, runs=1) if line.startswith("PAPER-1")]

    assert f"{holder.host}:{holder.pid}" in line
    assert f"  {silent} s ago" in line or f"  {silent + 1} s ago" in line
    assert line.endswith(state)
