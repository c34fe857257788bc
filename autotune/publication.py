"""Publication: what is current in the registry becomes what lookups read; a generation of winners all at once."""

from __future__ import annotations

from pathlib import Path

from autotune import snapshot, snapshot_folder
from autotune.errors import SnapshotError
from autotune.registry import Registry
from autotune.registry.generations import Changeover
from autotune.tuned_config import TunedConfig


def publish(registry: Registry, number: int, folder: Path) -> Changeover:
    """Make the generation current, in the registry and then in the folder."""
    with snapshot_folder.alone(folder):  # from before it is current: no study writes half of it into the old files
        changeover = registry.publish(number)
        _follow(registry, folder)
    return changeover


def roll_back(registry: Registry, folder: Path, to: int | None = None) -> Changeover:
    """Undo the last published generation, or all after that of the number `to`, likewise."""
    with snapshot_folder.alone(folder):
        changeover = registry.roll_back(to)
        _follow(registry, folder)
    return changeover


def repair(registry: Registry, folder: Path) -> bool:
    """Write the folder anew where it shows another generation than is current: its writer was killed before the end."""
    with snapshot_folder.alone(folder):
        return _follow(registry, folder)


def rewrite(registry: Registry, folder: Path) -> None:
    """Write the folder anew, whatever it shows."""
    with snapshot_folder.alone(folder):
        _rewrite(registry, folder, registry.published)


def write(registry: Registry, folder: Path, workload: str, sku: str) -> None:
    """Bring one workload's winners on one SKU up to the registry; the other files stay."""
    with snapshot_folder.alone(folder):
        if current := registry.current(workload, sku):
            snapshot.write(folder, current, registry.portfolios(workload, sku))


def _follow(registry: Registry, folder: Path) -> bool:
    published, shown = registry.published, snapshot_folder.generation_of(folder)
    if published == (shown or 0) and (shown is not None or not registry.generations()):
        return False
    try:
        _rewrite(registry, folder, published)
    except SnapshotError as error:
        raise SnapshotError(
            f"{error} The registry has generation {published} as the current one all the same; when that is mended, "
            f"`autotune export` writes the files."
        ) from error
    return True


def _rewrite(registry: Registry, folder: Path, number: int) -> None:
    winners = [*_only_here(registry, folder), *registry.current()]
    snapshot_folder.replace(folder, winners, number, registry.portfolios())


def _only_here(registry: Registry, folder: Path) -> list[TunedConfig]:
    """What the files hold and the registry never heard of: somebody put it there."""
    there = snapshot.read_all(folder) if any(folder.glob("*/*.json")) else []
    return [tuned for tuned, known in zip(there, registry.ever_had(there), strict=True) if not known]
