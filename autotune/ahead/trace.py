"""Trace: what a body did up to the end of its first call, as one digest; FakeCuda and TritonCompiler write it."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


class Trace:
    """Equal digests mean: the same binaries, launched alike on alike tensors, between the same operations of torch."""

    def __init__(self) -> None:
        self.launches = 0
        self.shared_memory_bytes = 0
        """Of the launch that needs most."""
        self.opaque = False
        """Whether something was done that cannot be told apart by its trace: then no digest is given."""
        self._hash = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []

    @property
    def digest(self) -> str | None:
        """Over everything in its order; None where that does not say everything."""
        return None if self.opaque else self._hash.hexdigest()

    def note(self, *facts: Any) -> None:
        """Something that was done."""
        self._hash.update("\0".join(map(self._text, facts)).encode() + b"\n")

    def launch(self, binary: bytes, shared_memory_bytes: int, *facts: Any) -> None:
        """A kernel that was started, with everything that it was started with."""
        self.launches += 1
        self.shared_memory_bytes = max(self.shared_memory_bytes, shared_memory_bytes)
        self.note("launch", binary, shared_memory_bytes, *facts)

    def _text(self, value: Any) -> str:
        if value is None or isinstance(value, (bool, int, float, complex, str, Enum)):
            return repr(value)
        if isinstance(value, bytes):
            return hashlib.sha256(value).hexdigest()
        if isinstance(value, Mapping):
            return f"{{{','.join(f'{key!r}:{self._text(one)}' for key, one in value.items())}}}"
        if isinstance(value, (list, tuple)):
            return f"[{','.join(map(self._text, value))}]"
        if hasattr(value, "untyped_storage"):
            return self._tensor(value)
        if is_dataclass(value) and not isinstance(value, type):
            return f"{type(value).__name__}{self._text([getattr(value, one.name) for one in fields(value)])}"
        return self._plain(value)

    def _tensor(self, tensor: Any) -> str:
        """By its place among the tensors seen, since whether two arguments share memory matters and where does not."""
        layout = tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.device
        return f"tensor {self._number(tensor.untyped_storage())} {layout}{self._contents(tensor)}"

    def _number(self, storage: Any) -> int:
        self._alive.append(storage)  # or another one would get its address
        return self._numbers.setdefault(storage._cdata, len(self._numbers))

    def _contents(self, tensor: Any) -> str:
        """The values of what is no fake: a configuration may be in them. Read past torch, which would make a fake."""
        if hasattr(tensor, "fake_mode"):
            return ""
        storage = tensor.untyped_storage()
        if tensor.device.type != "cpu":
            self.opaque = True
            return ""
        return hashlib.sha256(ctypes.string_at(storage.data_ptr(), storage.nbytes())).hexdigest()

    def _plain(self, value: Any) -> str:
        """A constant of torch by its name; what is unknown may differ in ways that cannot be seen."""
        if type(value).__module__.partition(".")[0] != "torch":
            self.opaque = True
        return str(value)
