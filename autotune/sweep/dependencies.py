"""Which parts of the toolchain a workload uses, told from its source files; nothing is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from autotune.workload import source_files

ALWAYS = frozenset({"driver", "python", "autotune"})
"""What plays a part in every measurement on its kind of device."""
ALL = ALWAYS | {"cuda", "torch", "triton", "nccl"}

_USES = {
    "torch": {"torch"},
    "torch.distributed": {"torch", "nccl"},
    "torch.compile": {"torch", "triton"},
    "torch._inductor": {"torch", "triton"},
    "torch.utils.cpp_extension": {"torch", "cuda"},
    "triton": {"triton"},
    "cuda": {"cuda"},
    "cupy": {"cuda"},
    "pycuda": {"cuda"},
    "numba": {"cuda"},
    "autotune.search_spaces.nccl": {"nccl"},
}
"""By what is imported, or named behind a module that is; the longest that fits counts as well as the shorter ones."""
_HARMLESS = frozenset({"autotune", "numpy", "scipy", "pytest", "__future__"})


def toolchain_parts(path: Path) -> frozenset[str]:
    """Of `Toolchain`, by name, for the workloads of that file.

    A package that is neither beside the file nor known here may use anything: it counts as using everything.
    """
    sources = source_files(path)
    local = {source.stem for source in sources} | {source.parent.name for source in sources}
    parts = set(ALWAYS)
    for name in (name for source in sources for name in _names(source)):
        package = name.partition(".")[0]
        used = [uses for prefix, uses in _USES.items() if f"{name}.".startswith(f"{prefix}.")]
        if not used and package not in {*local, *_HARMLESS, *sys.stdlib_module_names, *_USES}:
            return ALL
        parts.update(*used)
    return frozenset(parts)


def _names(source: Path) -> Iterator[str]:
    """The dotted names that it imports, and those that it reaches through an imported name: `torch.compile`."""
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:  # told when the file is loaded
        return
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            root, _, rest = dotted.partition(".")
            if root in aliases:
                yield f"{aliases[root]}.{rest}"


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return None
