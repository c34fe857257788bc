"""Admission: refuses a device on which others run, before it is measured on; who they are is found in `tenants.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from autotune.device import Device, gpu_devices, lock
from autotune.device.tenants import Tenant, newcomers, staying, tenants
from autotune.errors import DeviceError


class Admission:
    """Looks at an executor's devices when the first trial and when each round is for them.

    Not before every trial: the driver would be asked while another one is measured. Who comes meanwhile disturbs the
    search, and is refused before a round can make a winner.
    shared: others are welcome.
    """

    def __init__(self, devices: Sequence[Device], *, shared: bool) -> None:
        self._devices, self._shared = devices, shared
        self._admitted: set[str] = set()

    def trial(self, sku: str) -> None:
        """Raises DeviceError where a device of the SKU is in use, or cannot be locked, when it is first asked for."""
        if sku in self._admitted:
            return
        for device in self._of(sku):
            lock.check(device)
            self._refuse(device, tenants, "others run on it, and would be in every measurement", _what_to_type)
        self._admitted.add(sku)

    def early(self, sku: str) -> bool:
        """`trial` before there is one: False where it would raise, or wait for somebody who may be leaving."""
        if self._shared or not any(map(tenants, self._of(sku))):
            with contextlib.suppress(DeviceError):
                self.trial(sku)
        return sku in self._admitted

    def round(self, sku: str) -> None:
        """Raises DeviceError where others have come since."""
        self.trial(sku)
        for device in self._of(sku):
            self._refuse(device, newcomers, "others have come, beside whom no winner can be found", _how_to_go_on)

    def _of(self, sku: str) -> list[Device]:
        return [device for device in self._devices if device.sku == sku]

    def _refuse(
        self, device: Device, look: Callable[[Device], list[Tenant]], why: str, advise: Callable[[Device], str]
    ) -> None:
        if not self._shared and (found := staying(look, device)):
            who = "; ".join(tenant.text for tenant in found)
            raise DeviceError(
                f"{device.kind}:{device.index} ({device.sku}) is not ours alone; {why}: {who}. {advise(device)}"
            )


def _how_to_go_on(_: Device) -> str:
    return "What was measured is recorded: the same command goes on, once they are gone or with --shared."


def _what_to_type(device: Device) -> str:
    """Naming the GPUs that are free."""
    free = [f"--device gpu:{other.index}" for other in gpu_devices() if other != device and not tenants(other)]
    elsewhere = f", take a free one ({' or '.join(free)})" if free else ""
    return f"Wait for them{elsewhere}, or measure all the same with --shared."
