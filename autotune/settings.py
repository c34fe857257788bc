"""Every AUTOTUNE_* environment variable, read once into one frozen value; each has a twin on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where autotune keeps and finds what it knows."""

    home: Path
    """AUTOTUNE_HOME, --home: the data directory. Default: `$XDG_DATA_HOME/autotune`, or `~/.local/share/autotune`."""
    database: str
    """AUTOTUNE_DATABASE, --database: a SQLAlchemy URL. Default: SQLite in the data directory."""
    snapshot_path: tuple[Path, ...]
    """AUTOTUNE_SNAPSHOT_PATH, --snapshot-path: folders of snapshots that are looked at before the user's own."""
    executor: str
    """AUTOTUNE_EXECUTOR, --executor. Default: `local`."""
    lock_folder: Path | None = None
    """AUTOTUNE_LOCK_FOLDER, --lock-folder: where devices are locked. Default: /tmp, which all users of a host share."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the variables; `environment` defaults to this process's own."""
        env = os.environ if environment is None else environment
        home = Path(env.get("AUTOTUNE_HOME") or default_home(env)).expanduser()
        folders = (env.get("AUTOTUNE_SNAPSHOT_PATH") or "").split(os.pathsep)
        return cls(
            home=home,
            database=env.get("AUTOTUNE_DATABASE") or f"sqlite:///{home / 'autotune.db'}",
            snapshot_path=tuple(Path(folder).expanduser() for folder in folders if folder),
            executor=env.get("AUTOTUNE_EXECUTOR") or "local",
            lock_folder=Path(locks).expanduser() if (locks := env.get("AUTOTUNE_LOCK_FOLDER")) else None,
        )

    @property
    def snapshots(self) -> Path:
        """The user's own snapshots, one file per SKU and workload."""
        return self.home / "snapshots"


def override(
    *,
    home: Path | None = None,
    database: str | None = None,
    snapshot_path: Sequence[Path] | None = None,
    lock_folder: Path | None = None,
) -> None:
    """Let what was typed hold for this process and all that it starts, a worker's own lookups among them."""
    if home is not None:
        os.environ["AUTOTUNE_HOME"] = str(home.expanduser().absolute())
    if database is not None:
        os.environ["AUTOTUNE_DATABASE"] = database
    if snapshot_path:
        os.environ["AUTOTUNE_SNAPSHOT_PATH"] = os.pathsep.join(str(folder.absolute()) for folder in snapshot_path)
    if lock_folder is not None:
        os.environ["AUTOTUNE_LOCK_FOLDER"] = str(lock_folder.expanduser().absolute())


def default_home(env: Mapping[str, str]) -> Path:
    """The data directory by the XDG base directory specification."""
    if base := env.get("XDG_DATA_HOME"):
        return Path(base) / "autotune"
    try:
        home = Path.home()
    except RuntimeError:  # a container without HOME and an entry for its user: lookups there go on to other folders
        home = Path("/nonexistent")
    return home / ".local/share/autotune"
