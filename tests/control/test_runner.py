"""How a run of a notebook ends, and what is left of it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from pysys.control.index import write_index
from pysys.control.ledger import bury_the_dead, open_entry
from pysys.control.outcome import RunFailed, RunOutcome
from pysys.control.run_notebook import run_notebook
from pysys.control.runner import Runner
from pysys.domain.errors import ConfigError
from pysys.store.machine import this_process
from pysys.store.runs import LeaseHeld, Run, RunStatus
from tests.control.conftest import COMPLETE, OPEN, System, with_changes


def row(system: System, outcome: RunOutcome) -> Run:
    with system.store.read() as unit:
        found = unit.runs.get(outcome.run_id)
        assert found is not None
        assert unit.runs.lease(f"notebook:{outcome.name}") is None
    return found


def files(system: System, name: str) -> list[str]:
    return sorted(path.name for path in system.settings.outputs.glob(f"*/{name}/*"))


def test_a_run_that_completes_is_done_and_leaves_notebook_page_row_and_index(system: System) -> None:
    name = system.notebook(
        "complete",
        OPEN,
        "import pandas as pd\npd.DataFrame({'price': [1.5]})",
        "print(repr(contract), count)",
        COMPLETE,
        parameters="contract: str = ''\ncount: int = 1",
    )
    outcome = system.runner.run(name, {"contract": "20230900", "count": "2"}, process="run_test")
    assert outcome.ok, outcome.sentence
    found = row(system, outcome)
    assert (found.status, found.error, found.record) == (RunStatus.DONE, None, {"rows": 3})
    assert (found.process, found.parameters) == ("run_test", {"contract": "20230900", "count": 2})
    assert (found.config_hash, found.pid) == (system.settings.config_hash, os.getpid())
    assert outcome.notebook is not None
    assert outcome.html is not None
    assert outcome.notebook.parent == system.settings.outputs / found.business_date.isoformat() / name
    assert files(system, name) == sorted([outcome.notebook.name, outcome.html.name])
    page = outcome.html.read_text()
    assert "'20230900' 2" in page
    assert "<td>1.5</td>" in page
    assert "A test" in page
    assert "open_run" not in page  # no code
    index = (system.settings.outputs / "index.html").read_text()
    assert f"{name}/{outcome.html.name}" in index


def test_a_page_is_small_and_needs_nothing_from_elsewhere(system: System) -> None:
    show = "from IPython.display import HTML, Javascript, display\n"
    script = "display(HTML('<b>kept</b><script src=\"https://cdn.example/x.js\">bad()</script>'), Javascript('bad()'))"
    outcome = system.runner.run(system.notebook("page", OPEN, show + script, COMPLETE))
    assert outcome.html is not None
    page = outcome.html.read_text()
    assert "<b>kept</b>" in page
    assert "bad()" not in page
    assert not re.search(r"<script|<link|@import|https?://", page)
    assert len(page) < 10_000


@pytest.mark.parametrize(
    ("name", "cells", "status", "error"),
    [
        ("fails", [OPEN, "1/0", COMPLETE], "failed", "ZeroDivisionError: division by zero"),
        ("fails_after_completion", [OPEN, COMPLETE, "1/0"], "failed", "ZeroDivisionError"),
        ("exits", ["import sys; sys.exit(0)", OPEN, COMPLETE], "incomplete", "ended before its last cell"),
        ("leaves", ["import os; os._exit(0)", OPEN, COMPLETE], "incomplete", "ended before its last cell"),
        ("exits_with_3", ["import os; os._exit(3)", OPEN, COMPLETE], "failed", "ended with exit code 3"),
        ("killed", [OPEN, "import os; os.kill(os.getpid(), 9)", COMPLETE], "failed", "killed by signal 9"),
        ("forgets", [OPEN, "1 + 1"], "incomplete", "ended before its last cell"),
        (
            "thread",
            [OPEN, "import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start()\nt.join()", COMPLETE],
            "failed",
            "Thread .* failed: ZeroDivisionError",
        ),
        (
            "task",
            [
                OPEN,
                "import asyncio\nasync def f():\n    1/0\nt = asyncio.create_task(f())\nawait asyncio.sleep(.1)",
                COMPLETE,
            ],
            "failed",
            "Task .* nobody awaited it: ZeroDivisionError",
        ),
        ("unawaited", [OPEN, "async def f():\n    pass\nf();", COMPLETE], "failed", "was never awaited"),
        ("shell", [OPEN, "!exit 4", COMPLETE], "failed", "shell line ended with exit code"),
    ],
)
def test_only_a_completion_record_after_nothing_failed_is_a_success(
    system: System, name: str, cells: list[str], status: str, error: str
) -> None:
    outcome = system.runner.run(system.notebook(name, *cells))
    found = row(system, outcome)
    assert found.status == outcome.status == status
    assert re.search(error, found.error or "")
    assert outcome.exit_code == 1
    assert outcome.notebook is not None
    json.loads(outcome.notebook.read_text())  # kept, whole
    assert outcome.html is not None
    assert f'class="{status}"' in outcome.html.read_text()


def test_a_failing_cell_shows_its_traceback_in_the_page(system: System) -> None:
    outcome = system.runner.run(system.notebook("traceback", OPEN, "def f(x):\n    return 1/x\nf(0)", COMPLETE))
    assert outcome.html is not None
    assert "return" in outcome.html.read_text()
    assert "An Exception was encountered" in (outcome.notebook or Path()).read_text()


def test_a_run_that_never_ends_is_ended_at_its_deadline(system: System) -> None:
    outcome = system.runner.run(system.notebook("forever", OPEN, "while True: pass"), deadline_minutes=0.02)
    found = row(system, outcome)
    assert found.status is RunStatus.FAILED
    assert "longer than its deadline of 0.02 minutes" in (found.error or "")
    assert outcome.seconds < 15


def test_a_run_that_eats_memory_fails_in_the_cell_that_did_it(system: System) -> None:
    hungry = system.notebook("hungry", OPEN, "huge = bytearray(3_000_000_000)", COMPLETE)
    outcome = system.configured(run_memory_limit_mb=2000).run(hungry)
    assert (outcome.status, outcome.error) == (RunStatus.FAILED, "MemoryError")


def test_memory_of_what_a_run_starts_counts_too(system: System) -> None:
    hold = "x = b'1' * 900_000_000; import time; time.sleep(60)"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {hold!r}])"
    outcome = system.configured(run_memory_limit_mb=1000).run(system.notebook("child", OPEN, child, COMPLETE))
    assert "used more than 1000 MB" in (outcome.error or "")


def test_a_wrong_parameter_stops_before_anything_is_written(system: System) -> None:
    name = system.notebook("strict", OPEN, COMPLETE, parameters="count: int = 1")
    for given, message in (({"cuont": "1"}, "Did you mean count"), ({"count": "x"}, "parameter count is int")):
        with pytest.raises(ConfigError, match=message):
            system.runner.run(name, given)
    with pytest.raises(ConfigError, match=r"Did you mean strict\?"):
        system.runner.run("stricct")
    with system.store.read() as unit:
        assert unit.runs.find(method=name) == []
    assert files(system, name) == []


def test_two_at_once_is_refused_and_says_who(system: System) -> None:
    name = system.notebook("alone", OPEN, COMPLETE)
    entry = open_entry(system.store, system.runner.desk.clock, system.settings.config, name, {})
    with pytest.raises(LeaseHeld, match=f"alone is already being run by process {os.getpid()} on"):
        system.runner.run(name)
    entry.close("enough")
    assert files(system, name) == []
    assert system.runner.run(name).ok


def test_the_run_of_a_dead_process_is_marked_dead_and_replaced(system: System) -> None:
    name = system.notebook("replaced", OPEN, COMPLETE)
    clock = system.runner.desk.clock
    first = open_entry(system.store, clock, system.settings.config, name, {})
    gone = replace(this_process(first.run_id), pid=2**22 + 1)
    with system.store.write() as unit:
        unit.runs.release(first.lease)
        unit.runs.claim(first.lease, gone, clock.now(), timedelta(minutes=1))
        unit.commit()
    assert system.runner.run(name).ok
    with system.store.read() as unit:
        found = unit.runs.get(first.run_id)
    assert found is not None
    assert found.status is RunStatus.DEAD


def test_what_is_certainly_dead_is_buried_and_the_living_are_not(system: System) -> None:
    clock, config = system.runner.desk.clock, system.settings.config
    living = open_entry(system.store, clock, config, "living", {})
    dead = replace(row_of(system, living.run_id), id="dead1", pid=2**22 + 1)
    with system.store.write() as unit:
        unit.runs.start(dead)
        unit.commit()
    assert bury_the_dead(system.store, clock.now()) == ["dead1"]
    living.close("ended")


def row_of(system: System, run_id: str) -> Run:
    with system.store.read() as unit:
        found = unit.runs.get(run_id)
    assert found is not None
    return found


def test_secrets_stay_out_of_what_is_kept(system: System) -> None:
    secret = "canary-5d41402a"
    show = "print(run.desk.config.email_pwd.get_secret_value())"
    name = system.notebook("canary", OPEN, show, COMPLETE)
    with Runner(with_changes(system.settings, email_pwd=SecretStr(secret)), system.runner.desk) as runner:
        outcome = runner.run(name)
    assert outcome.ok, outcome.sentence
    for path in (outcome.notebook, outcome.html):
        assert path is not None
        assert secret not in path.read_text()
        assert "[secret removed]" in path.read_text()


def test_outputs_that_cannot_be_written_stop_everything_with_one_sentence(system: System, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "outputs", Path("/proc/outputs")):
        with pytest.raises(ConfigError, match="Nothing can be written to"):
            run_notebook(with_changes(system.settings, outputs_directory=str(place)), "complete")


PROGRAM = """
import sys
from pathlib import Path
from pysys.config import load_settings
from pysys.control.run_notebook import run_notebook
from pysys.domain.errors import PysysError
try:
    run_notebook(load_settings(Path(sys.argv[1])), sys.argv[2])
except PysysError as error:
    sys.exit(str(error))
"""


def start_elsewhere(system: System, name: str) -> subprocess.Popen[str]:
    """Run a notebook from another process, and return when its first cell has run."""
    command = [sys.executable, "-c", PROGRAM, str(system.settings.home), name]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    marker = system.settings.home / f"{name}.started"
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    return process


def waiting_notebook(system: System, name: str) -> str:
    marker = system.settings.home / f"{name}.started"
    mark = f"import os, pathlib, time\npathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    return system.notebook(name, OPEN, mark, COMPLETE)


def kernel_is_gone(system: System, name: str) -> bool:
    pid = int((system.settings.home / f"{name}.started").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


def test_a_terminated_run_is_recorded_as_failed_and_frees_its_name(system: System) -> None:
    name = waiting_notebook(system, "terminated")
    process = start_elsewhere(system, name)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "The run was stopped by signal SIGTERM" in message
    with system.store.read() as unit:
        (found,) = unit.runs.find(method=name)
        assert unit.runs.lease(f"notebook:{name}") is None
    assert found.status is RunStatus.FAILED
    assert kernel_is_gone(system, name)


def test_after_a_kill_the_kernel_is_gone_and_the_next_start_is_clean(system: System) -> None:
    name = waiting_notebook(system, "murdered")
    process = start_elsewhere(system, name)
    process.kill()
    process.communicate(timeout=30)
    assert kernel_is_gone(system, name)
    system.notebook(name, OPEN, COMPLETE)
    assert system.runner.run(name).ok
    with system.store.read() as unit:
        assert [run.status for run in unit.runs.find(method=name)] == [RunStatus.DONE, RunStatus.DEAD]
    assert not list(system.settings.outputs.glob(f"*/{name}/*.running.html"))


def test_a_signal_stops_the_program_that_runs_many(system: System) -> None:
    name = system.notebook("signalled", OPEN, "import time; time.sleep(30)", COMPLETE)
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(RunFailed, match="stopped by signal SIGTERM"):
        system.runner.run(name)
    timer.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_notebook_opened_by_hand_has_a_run_of_its_own(system: System) -> None:
    program = "from pysys.control.run import open_run\nrun = open_run()\nrun.complete({'seen': float('nan')})"
    environment = {**os.environ, "PYSYS_HOME": str(system.settings.home), "JPY_SESSION_NAME": "/x/by_hand.ipynb"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    with system.store.read() as unit:
        (found,) = unit.runs.find(method="by_hand")
    assert (found.process, found.status, found.record) == ("interactive", RunStatus.DONE, {"seen": None})


def test_the_index_escapes_what_runs_say_and_links_rehearsals(system: System) -> None:
    system.runner.run(system.notebook("nasty", OPEN, "raise ValueError('<script>alert(1)</script>')"))
    demo = system.settings.outputs / "demo"
    demo.mkdir(exist_ok=True)
    (demo / "index.html").write_text("")
    (demo / "summary.json").write_text(json.dumps({"lines": ["demo: 5 days & <b>no</b> break"]}))
    page = write_index(system.settings.outputs, system.store).read_text()
    assert "<script>" not in page
    assert "ValueError: &lt;script&gt;alert(1)" in page
    assert 'href="demo/index.html"' in page
    assert "5 days &amp; &lt;b&gt;no&lt;/b&gt; break" in page
