"""Starting and ending the kernel of one run."""

import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.utils import run_sync

from pysys.control.nursery import ForkedKernel, Nursery, NurseryFailed

# Whatever kernel a notebook names, it gets the interpreter this program runs on.
_THIS_INTERPRETER = KernelSpec(argv=[sys.executable], display_name="pysys", language="python")


class _NurseryProvisioner(LocalProvisioner):
    """Launches by forking instead of by a command."""

    fork: Any

    async def launch_kernel(self, cmd: list[str], **_kwargs: Any) -> KernelConnectionInfo:
        self.process = self.fork()
        self.pid = self.pgid = self.forked.pid
        return self.connection_info

    @property
    def forked(self) -> ForkedKernel:
        process: Any = self.process
        if not isinstance(process, ForkedKernel):
            raise NurseryFailed("the kernel was never started")
        return process


@dataclass
class RunKernel:
    """A started kernel. It runs one notebook, then it is closed."""

    manager: AsyncKernelManager
    process: ForkedKernel
    folder: Path  # of the connection file and the sockets

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative when a signal ended it."""
        return self.process.poll()

    def kill(self) -> None:
        """End the kernel and everything it started, now. Safe from any thread and from a signal handler."""
        self.process.kill()

    def close(self) -> None:
        self.kill()
        self.process.wait(timeout=10)
        run_sync(self.manager.cleanup_resources)(restart=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def start_kernel(nursery: Nursery, working_folder: Path, memory_mb: int) -> RunKernel:
    """Start a kernel and return before it is ready.

    It listens on sockets in a folder only this user can open, and on TCP only where such sockets cannot be made.
    Raises NurseryFailed.
    """
    folder = Path(tempfile.mkdtemp(prefix="pysys-"))
    connection_file = folder / "k.json"
    manager = AsyncKernelManager(
        connection_file=str(connection_file), transport="ipc" if _sockets_work(folder) else "tcp"
    )
    provisioner = _NurseryProvisioner(parent=manager, kernel_spec=_THIS_INTERPRETER)
    provisioner.fork = lambda: nursery.fork(connection_file, working_folder, memory_mb)
    manager._kernel_spec = _THIS_INTERPRETER
    manager.provisioner = provisioner
    try:
        run_sync(manager.start_kernel)()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return RunKernel(manager, provisioner.forked, folder)


def _sockets_work(folder: Path) -> bool:
    """Whether a socket can be bound in `folder`: its path may be too long, its file system may refuse."""
    path = folder / "k-ipc-probe"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink()
    return True
