"""The program kernels are forked from: it has the library imported once, so that a kernel starts in an instant.

Started as `python -m pysys.control.nursery_main`. One JSON request a line on stdin, one JSON answer a line on stdout:
{"connection_file", "folder", "memory_mb"} is answered by {"pid"}, {"pid"} by {"code"}, null while it lives. Ends,
with every kernel, when stdin ends or the program that started it does.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_LOST_PARENT = 3  # exit code
_PRELOAD = (
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "IPython.core.oinspect",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "pandas",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "pysys.control.run",
)
# What most notebooks of a trading day go on to import: taken in while the first one runs, for the sake of the others.
_THEN = (
    "pysys.store.reporting",
    "pysys.data.parameter_tables",
    "pysys.data.archive",
    "pysys.data.fx",
    "pysys.data.sampling",
    "pysys.data.historical",
    "pysys.data.multiple",
    "pysys.data.rolling",
    "pysys.data.capital",
    "pysys.execution.targets",
    "pysys.execution.generation",
    "pysys.execution.stack_handler",
    "pysys.systems.backtest",
    "pysys.systems.backtest_yaml",
    "pysys.reports.status",
    "pysys.reports.roll",
    "pysys.reports.trades",
    "pysys.reports.pandl",
    "pysys.reports.reconcile",
    "pysys.broker.paper.synthetic",
)


def die_with(parent: int) -> None:
    """Have Linux kill this process when its parent ends; end at once when that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_LOST_PARENT)


def limit_memory(megabytes: int) -> None:
    """Let allocation fail with MemoryError above the ceiling, so that the failing cell shows where."""
    ceiling = megabytes * 1024 * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = ceiling if hard == resource.RLIM_INFINITY else min(ceiling, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def main() -> None:
    die_with(int(os.environ.pop("PYSYS_RUNNER_PID")))
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if sys.platform == "linux":  # elsewhere a fork after these imports is not safe, so each kernel imports them
        for name in _PRELOAD:
            importlib.import_module(name)
        gc.freeze()
    later = list(_THEN) if sys.platform == "linux" else []
    while line := requests.readline():
        request = json.loads(line)
        answer = (
            {"code": _exit_code(request["pid"])} if "pid" in request else {"pid": _fork(request, requests, answers)}
        )
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        while later and not select.select([requests], [], [], 0)[0]:
            importlib.import_module(later.pop(0))
            gc.freeze()


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended == pid else None


def _fork(request: dict[str, Any], requests: IO[str], answers: IO[str]) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        die_with(server)
        os.close(requests.fileno())
        os.close(answers.fileno())
        os.chdir(request["folder"])
        limit_memory(request["memory_mb"])
        code = _be_a_kernel(request["connection_file"], server)
    finally:
        os._exit(code)


def _be_a_kernel(connection_file: str, parent: int) -> int:
    from ipykernel.kernelapp import IPKernelApp

    try:
        IPKernelApp.launch_instance(argv=["-f", connection_file, f"--IPKernelApp.parent_handle={parent}"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        atexit._run_exitfuncs()
    return 0


if __name__ == "__main__":
    main()
