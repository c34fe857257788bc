"""Problem and Config: frozen mappings of scalars with one canonical text; what they mean to a workload is its own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, Self

from autotune.errors import UserError

Scalar = str | int | float | bool | None

# A string is written bare when it can be told from every other value and from the syntax around it.
_BARE = re.compile(r"[A-Za-z_][\w.\-/+: ]*\Z")
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "none": None}


class FrozenMapping(dict[str, Scalar]):
    """A mapping of names to scalars that never changes.

    It is a `dict`, so that `**config` and `json.dumps(config)` take the interpreter's fast paths; every method that
    would change it raises TypeError. Names are also attributes: `config.block_m`.
    """

    __slots__ = ()

    def __init__(self, values: Mapping[str, Any] | None = None, /, **names: Any) -> None:
        given = {**(values or {}), **names}
        for name in given:
            _check_name(name, type(self).__name__)
        super().__init__({name: to_scalar(name, value) for name, value in given.items()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `k=v,k=v`, the inverse of `text`; raises UserError on anything else."""
        return cls(dict(_parse_pair(pair, text) for pair in _split(text) if pair.strip()))

    @property
    def text(self) -> str:
        """Canonical text, sorted by name: `dtype=bfloat16,k=4096,m=16`. Equal mappings have equal text."""
        return ",".join(f"{name}={_scalar_text(self[name])}" for name in sorted(self))

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            have = ", ".join(self) or "nothing"
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it has {have}") from None

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Scalar]]]:
        return type(self), (dict(self),)

    def _frozen(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} never changes; make a new one: {type(self).__name__}(old, name=value)"
        )

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = _frozen
    update = pop = popitem = setdefault = clear = __ior__ = _frozen


class Problem(FrozenMapping):
    """What is to be solved: shapes, dtype, model; given by the caller, never searched."""

    __slots__ = ()


class Config(FrozenMapping):
    """One point of a search space: the value that each parameter takes."""

    __slots__ = ()


RESERVED_NAMES = frozenset(dir(FrozenMapping))


def to_scalar(name: str, value: Any) -> Scalar:
    """`value` as a plain scalar: NumPy scalars and torch dtypes are taken by what they stand for."""
    if value is None or isinstance(value, bool):
        return value
    for plain in (str, int, float):
        if isinstance(value, plain):
            # An enum or NumPy subclass becomes the plain type; str() of an enum would be its name.
            return str.__str__(value) if plain is str else plain(value)
    kind = type(value)
    if any(base.__name__ == "dtype" for base in kind.__mro__):  # torch.bfloat16, numpy.dtype('float32')
        return str(value).removeprefix("torch.")
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return to_scalar(name, value.item())
    raise UserError(
        f"{name} is a {kind.__name__}; a problem and a config hold only numbers, strings, booleans and None. "
        f"Give what identifies it, such as its shape or its dtype."
    )


def _check_name(name: str, kind: str) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"{name!r} cannot name a value of a {kind}: it must be a Python identifier.")
    if name in RESERVED_NAMES:
        raise UserError(
            f"{name!r} cannot name a value of a {kind}: it would hide the mapping's own; call it '{name}_'."
        )


def _scalar_text(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        bare = (
            _BARE.match(value)
            and value == value.strip()
            and not isinstance(_parse_scalar(value), (bool, float, type(None)))
        )
        return value if bare else json.dumps(value)
    return repr(value)


def _parse_scalar(text: str) -> Scalar:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.startswith('"'):
        return str(json.loads(text))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside double quotes."""
    return re.findall(r'(?:"(?:\\.|[^"\\])*"|[^,"])+', text)


def _parse_pair(pair: str, text: str) -> tuple[str, Scalar]:
    name, equals, value = pair.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UserError(
            f"cannot read {pair.strip()!r} in {text!r}; expected name=value pairs such as m=16,dtype=bfloat16."
        )
    try:
        return name.strip(), _parse_scalar(value.strip())
    except ValueError as error:
        raise UserError(f"cannot read the value of {name.strip()} in {text!r}: {error}.") from None
