"""Tenants: other programs that compute on a GPU, as NVML shows them; who of ours measures when is for `lock.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autotune.device import Device, compute_processes, graphics_processes, used_memory_bytes
from autotune.device.cpu import read
from autotune.device.nvml import RunningProcess
from autotune.device.occupant import Occupant, is_ours, occupant

GONE_S = 2.0
"""How long a process that was killed may still be listed."""
LOOK_S = 0.1
UNSEEN_BYTES = 256 * 1024**2
"""Memory that is used without a process that uses it: a CUDA context takes more, an idle GPU's driver less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A program that computes on a GPU and is none of this project's."""

    who: Occupant | None
    """None where only its memory is seen: drivers hide the processes of other containers."""
    memory_bytes: int | None
    """None where the driver does not tell."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        who = {"pid": self.who.pid, "user": self.who.user, "command": self.who.command} if self.who else {}
        return {**who, "memory_bytes": self.memory_bytes}

    @property
    def text(self) -> str:
        """`pid 4242 of alice: python train.py, with 1.5 GiB`."""
        who = self.who.text if self.who else "a program that cannot be seen from here, as in another container"
        return who if self.memory_bytes is None else f"{who}, with {self.memory_bytes / 2**30:.1f} GiB"


def tenants(device: Device) -> list[Tenant]:
    """Whoever is on the GPU or on the MIG slice, before anything of this process's is; none on the CPU.

    The processes of a desktop, which draw and do not compute, are left out.
    """
    running = compute_processes(device)
    if running:
        return _strangers(running)
    unseen = used_memory_bytes(device) or 0
    explained = unseen < UNSEEN_BYTES or graphics_processes(device) or _is_windows_host()
    return [] if explained else [Tenant(who=None, memory_bytes=unseen)]


def newcomers(device: Device) -> list[Tenant]:
    """The same while a worker of this process's is on the GPU as well; none where it cannot be told from the others.

    Older drivers number the processes as the host does: in a container, our own worker then looks like a stranger.
    """
    running = compute_processes(device)
    strangers = _strangers(running)
    return strangers if len(strangers) < len(running) else []


def staying(look: Callable[[Device], list[Tenant]], device: Device) -> list[Tenant]:
    """What `look` finds, without those who are just leaving."""
    until_s = time.monotonic() + GONE_S
    while (found := look(device)) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    return found


def _strangers(running: Sequence[RunningProcess]) -> list[Tenant]:
    return [Tenant(who=occupant(one.pid), memory_bytes=one.memory_bytes) for one in running if not is_ours(one.pid)]


def _is_windows_host() -> bool:
    """Its desktop uses memory of the GPU, and the Linux beneath it is shown no processes."""
    return "microsoft" in read("/proc/version").lower()
