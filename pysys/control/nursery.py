"""Starts kernels by forking a program that has the library imported already."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_ANSWER_WITHIN = 120.0  # seconds; the first answer waits for the imports


class NurseryFailed(Exception):
    """The program kernels are forked from has ended or keeps silent."""


class Nursery:
    """One such program, with one environment for all its kernels. It ends with the thread that started it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pysys.control.nursery_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **environment,
                "PYSYS_RUNNER_PID": str(os.getpid()),
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning for people who debug the standard library
            },
            start_new_session=True,
        )

    @property
    def is_alive(self) -> bool:
        return self._server.poll() is None

    def fork(self, connection_file: Path, folder: Path, memory_mb: int) -> "ForkedKernel":
        """A new kernel, working in `folder`, that may allocate `memory_mb`. Raises NurseryFailed."""
        answer = self.ask({"connection_file": str(connection_file), "folder": str(folder), "memory_mb": memory_mb})
        return ForkedKernel(self, answer["pid"])

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises NurseryFailed when there is no answer."""
        server = self._server
        assert server.stdin is not None
        assert server.stdout is not None
        with self._lock:
            try:
                server.stdin.write(json.dumps(request).encode() + b"\n")
                server.stdin.flush()
                ready, _, _ = select.select([server.stdout], [], [], _ANSWER_WITHIN)
                line = server.stdout.readline() if ready else b""
            except OSError as error:
                raise NurseryFailed(f"no kernel can be started: {error}") from error
        if not line:
            raise NurseryFailed(f"no kernel can be started (exit code {server.poll()})")
        return dict(json.loads(line))

    def close(self) -> None:
        """End the program, and with it every kernel."""
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


class ForkedKernel:
    """A kernel's process, with the part of subprocess.Popen that jupyter_client uses."""

    stdin = stdout = stderr = None

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """Exit code, negative after a signal; None while it lives."""
        if self.returncode is None:
            try:
                self.returncode = self._nursery.ask({"pid": self.pid})["code"]
            except NurseryFailed:
                self.returncode = -signal.SIGKILL  # a kernel dies with its nursery
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("kernel", timeout if timeout is not None else 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Signal the kernel and what it started. Safe from a signal handler: nothing is asked."""
        if self.returncode is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)
