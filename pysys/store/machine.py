"""Who holds something: a process on a machine, and whether it can still be alive."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lease, and the run it holds it for. The boot id tells a reboot from a long life."""

    host: str
    pid: int
    boot_id: str
    run_id: str = ""

    def __str__(self) -> str:
        return "|".join((self.host, str(self.pid), self.boot_id, self.run_id))

    @classmethod
    def parse(cls, text: str) -> "Holder":
        """The holder `str` wrote. Raises ValueError for anything else."""
        parts = text.split("|")
        if len(parts) != _FIELDS:
            raise ValueError(f"{text!r} is not host|pid|boot id|run id")
        return cls(parts[0], int(parts[1]), parts[2], parts[3])


@cache
def host_name() -> str:
    return platform.node()[:50]


@cache
def boot_id() -> str:
    """Changes at every start of the machine; empty where the system has none."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def this_process(run_id: str = "") -> Holder:
    return Holder(host_name(), os.getpid(), boot_id(), run_id)


def is_gone(holder: Holder) -> bool:
    """True when the holder is certainly dead: this machine was started since, or has no such process.

    Of another machine nothing is certain: only its missing heartbeat tells.
    """
    if holder.host != host_name():
        return False
    if holder.boot_id != boot_id():
        return True
    return not _is_running(holder.pid)


def _is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            state = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in ("Z", "X")  # a zombie has ended, only nobody asked
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
