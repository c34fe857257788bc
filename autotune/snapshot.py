"""Snapshots: a folder of files, what was found of one workload on one SKU in each; which folders are read: `lookup`."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autotune import snapshot_format
from autotune.errors import SnapshotError
from autotune.portfolio.portfolio import Portfolio
from autotune.tuned_config import TunedConfig
from autotune.values import Problem


def path_of(folder: Path, sku: str, workload: str) -> Path:
    """Where a snapshot lies below `folder`; different names never share a path, whatever they contain."""
    return folder / _to_file_name(sku) / f"{_to_file_name(workload)}.json"


def write(
    folder: Path, configs: Iterable[TunedConfig], portfolios: Iterable[Portfolio] = (), *, merge: bool = True
) -> list[Path]:
    """Write each config and portfolio into the snapshot of its workload and SKU; gives the files that were written.

    With `merge` the entries that a file holds for other problems stay, and its portfolios by other measures. A file is
    replaced as a whole or not at all: SnapshotError where that fails, and where the file that is there is corrupt or of
    a newer schema.
    """
    groups: dict[Path, list[TunedConfig | Portfolio]] = {}
    given: list[TunedConfig | Portfolio] = [*configs, *portfolios]
    for one in given:
        groups.setdefault(path_of(folder, one.sku, one.workload), []).append(one)
    for path, group in groups.items():
        with _writing(path):
            there = _everything(path) if path.exists() else []  # even where nothing is kept: never over the unreadable
            for one in there[:1]:
                _check_place(path, one)
            every = [*(there if merge else []), *group]
            tuned = [one for one in every if isinstance(one, TunedConfig)]
            rules = [one for one in every if isinstance(one, Portfolio)]
            _replace(path, snapshot_format.encode(group[0].workload, group[0].sku, tuned, rules))
    return list(groups)


def read(path: Path) -> list[TunedConfig]:
    """All entries; SnapshotError where there is no such file, or anything at all is wrong with it."""
    with _reading(path):
        data = path.read_bytes()
    return snapshot_format.decode(data, str(path))


def files(path: Path) -> list[Path]:
    """That file, or all snapshots below that folder; SnapshotError where there is none."""
    with _reading(path):
        found = sorted(path.glob("*/*.json")) if path.is_dir() else [path]
    if not found:
        raise SnapshotError(f"there is no snapshot below {path}; expected files such as {path}/SKU/WORKLOAD.json.")
    return found


def read_all(path: Path) -> list[TunedConfig]:
    """The entries of a file, or of all snapshots below a folder; SnapshotError where there is none."""
    return [tuned for file in files(path) for tuned in read(file)]


def find(path: Path, gpus: int, problem: Problem) -> TunedConfig | None:
    """The entry for that problem, by reading a few blocks; None where the file has none, or there is no file.

    SnapshotError where the file is torn or the entry is not as it was written; the other entries are not looked at.
    """
    with _reading(path):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            line = snapshot_format.find_line(file, gpus, problem)
        finally:
            os.close(file)
    if line is None:  # the full reader tells a reformatted file from a damaged one
        wanted = (gpus, problem.text)
        found = next((tuned for tuned in read(path) if (tuned.gpus, tuned.problem.text) == wanted), None)
    else:
        found = snapshot_format.decode_line(line, str(path)) if line else None
    if found:
        _check_place(path, found)
    return found


def problems(path: Path) -> list[tuple[int, Problem]]:
    """The (gpus, problem) of every entry; none where there is no file."""
    with _reading(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
    return snapshot_format.problems(data, str(path))


def portfolios(path: Path) -> list[Portfolio]:
    """Those of the file; none where there is no file. The entries are not looked at."""
    with _reading(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
    found = snapshot_format.portfolios(data, str(path))
    for one in found:
        _check_place(path, one)
    return found


def skus(folder: Path, workload: str) -> dict[str, Path]:
    """The SKUs that have a snapshot of the workload below `folder`, by name, and where it lies."""
    with _reading(folder):
        files = sorted(folder.glob(f"*/{_to_file_name(workload)}.json"))
    return {_from_file_name(file.parent.name): file for file in files}


def _to_file_name(name: str) -> str:
    """Percent-encoded as in a URL, a leading dot too: no two names meet, and none leaves its folder."""
    encoded = re.sub(r"[^A-Za-z0-9_.\-]|^\.", lambda found: "".join(f"%{b:02X}" for b in found[0].encode()), name)
    return encoded or "%"


def _from_file_name(name: str) -> str:
    """The inverse, for names that `_to_file_name` made; another one stays as it is."""
    encoded = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), os.fsencode(name))
    return "" if name == "%" else encoded.decode(errors="replace")


def _everything(path: Path) -> list[TunedConfig | Portfolio]:
    return [*read(path), *portfolios(path)]


def _check_place(path: Path, one: TunedConfig | Portfolio) -> None:
    """A file that was renamed must not make one SKU's winners another's."""
    expected = path_of(path.parent.parent, one.sku, one.workload)
    if path.parts[-2:] != expected.parts[-2:]:
        raise SnapshotError(f"{path} holds {one.workload} on {one.sku}; rename it to {expected}.")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SnapshotError(f"there is no snapshot {path}.") from None
    except OSError as error:
        raise SnapshotError(f"the snapshot {path} cannot be read: {error.strerror}.") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the folder, and keep other writers from it meanwhile: of two that merge at once, none must be lost."""
    folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # not every network file system locks a folder
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise SnapshotError(f"the snapshot {path} cannot be written, and was not changed: {why(error)}.") from error
    finally:
        if folder is not None:
            os.close(folder)


def why(error: OSError) -> str:
    """What stood in the way of writing, for the end of a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full, free some space"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "its folder is read-only; make it writable, or give another with --home or AUTOTUNE_HOME"
    return error.strerror or str(error)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
