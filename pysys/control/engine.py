"""Papermill's execution on a kernel that is already running. Imports are slow: import this module late."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill.execute
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from pysys.control.kernel import RunKernel

__all__ = ["DeadKernelError", "KernelNeverStarted", "PapermillExecutionError", "execute"]

_START_TIMEOUT = 60  # seconds


class KernelNeverStarted(Exception):
    """The kernel ended or kept silent before the first cell ran, so nothing has happened yet."""


class _Client(PapermillNotebookClient):
    """Tells the kernel which run it is, before the first cell."""

    run_variables: Mapping[str, str]

    def start_new_kernel_client(self, **kwargs: Any) -> Any:
        try:
            return super().start_new_kernel_client(**kwargs)
        except RuntimeError as error:
            raise KernelNeverStarted(str(error)) from error

    def papermill_execute_cells(self) -> None:
        values = dict(self.run_variables)
        reply = self.kc.execute(f"__import__('os').environ.update({values!r})", silent=True, store_history=False)
        self.wait_for_reply(reply)
        super().papermill_execute_cells()


class _StartedKernelEngine(Engine):
    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        kernel: RunKernel,
        run_variables: Mapping[str, str],
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = _START_TIMEOUT,
        **_unused: Any,
    ) -> None:
        client = _Client(
            nb_man, km=kernel.manager, kernel_name=kernel_name, startup_timeout=start_timeout, timeout=None
        )
        client.run_variables = run_variables
        try:
            client.execute()
        finally:
            if client.kc is not None:
                client.kc.stop_channels()


papermill_engines.register("pysys", _StartedKernelEngine)


def execute(
    notebook: Path, output: Path, parameters: Mapping[str, Any], kernel: RunKernel, run_variables: Mapping[str, str]
) -> None:
    """Run a notebook with papermill and keep it, as it goes, in `output`.

    Raises PapermillExecutionError when a cell fails, DeadKernelError when the kernel ends under it,
    KernelNeverStarted when no cell ran.
    """
    papermill.execute.execute_notebook(
        str(notebook),
        str(output),
        parameters=dict(parameters),
        engine_name="pysys",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=_START_TIMEOUT,
        kernel=kernel,
        run_variables=run_variables,
    )
