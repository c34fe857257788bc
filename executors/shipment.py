"""Shipment: a workload's source as text, for hosts that share no file system, and the folder where it lies there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from autotune.workload import source_files, source_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """The file and the local modules that it imports, as they were when it was packed."""

    path: Path
    """Of the workload's file, here."""
    version: str
    """Of the text, see `workload.source_version`."""
    sources: Mapping[str, str]
    """By the path relative to the file's folder; text in latin-1, which gives every byte back."""

    @classmethod
    def pack(cls, path: Path) -> Shipment:
        """Raises OSError where a file cannot be read."""
        path = path.resolve()
        sources = {str(one.relative_to(path.parent)): one.read_bytes().decode("latin-1") for one in source_files(path)}
        return cls(path=path, version=source_version(path), sources=sources)

    @property
    def key(self) -> str:
        """Of the folder: two files with equal neighbours are two shipments."""
        return f"{self.version}-{self.path.stem}"


class Warehouse:
    """The shipments that have come to this host, in a folder that nobody else can read."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="autotune-sources-")

    @property
    def folder(self) -> Path:
        """Each shipment has one of its own in it."""
        return Path(self._folder.name).resolve()

    def store(self, key: str, name: str, sources: Mapping[str, str]) -> Path:
        """Unpack it; the path of the file called `name`. Raises ValueError where a path would leave the folder."""
        for relative, text in sources.items():
            if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
                raise ValueError(f"a shipment holds {relative!r}, which lies outside of its folder")
            path = self.folder / key / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("latin-1"))
        return self.folder / key / name

    def close(self) -> None:
        """Remove it all."""
        self._folder.cleanup()
