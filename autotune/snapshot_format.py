"""The bytes of a snapshot: how entries become lines and are found again; which file holds what is in `snapshot`.

Every entry has a line of its own, the lines are sorted, and each carries a checksum: one entry among thousands is found
by bisection and only its line is parsed, and a file in somebody's repository has readable diffs.

    {"schema": 1, "workload": "matmul", "sku": "H200", "entries": {
    "1 dtype=bfloat16,k=4096,m=16": {"crc32": "5c0d8d0a", "tuned": {…}},
    "1 dtype=bfloat16,k=4096,m=32": {"crc32": "97f1a6de", "tuned": {…}}
    }, "portfolios": {
    "rule 1 minimize latency_ms cold": {"portfolio": {…}, "crc32": "0f3c77aa"}
    }, "sha256": "…", "size_bytes":         1843}

Where there are portfolios, their lines sort after those of all entries and look unlike them: an older reader, which
does not know them, finds its entries by the same bisection.

A field that an entry lacks takes its default, and one that a reader does not know is left out (see `TunedConfig`), so
the schema's number changes only where an older reader would misread a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import autotune
from autotune.errors import SnapshotError, UserError
from autotune.portfolio.portfolio import Portfolio
from autotune.tuned_config import TunedConfig
from autotune.values import Problem

SCHEMA = 1

_BLOCK_BYTES = 8192
_STRING = rb'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rb'\{"schema": %d, "workload": %b, "sku": %b, "entries": \{\n' % (SCHEMA, _STRING, _STRING))
_FOOT = re.compile(rb'\n\}, "sha256": "[0-9a-f]{64}", "size_bytes": +(\d+)\}\n\Z')
_KEY = re.compile(rb'(%b): \{"crc32": ' % _STRING)
_PORTFOLIOS = b'\n}, "portfolios": {\n'
_MEND = "restore it, or delete it and run `autotune export` to write it anew from the registry"


def encode(workload: str, sku: str, configs: Iterable[TunedConfig], portfolios: Iterable[Portfolio] = ()) -> bytes:
    """The whole file; of two configs for one problem, and of two portfolios of one measure, the later one is kept."""
    entries = {_key(tuned.gpus, tuned.problem): tuned for tuned in configs}
    lines, checksums = [], {}
    for key in sorted(entries):
        tuned = json.loads(_canonical(entries[key].to_json()))  # as a reader will see it: tuples are lists
        crc32 = checksums[json.loads(key)] = _crc32(key, tuned)
        lines.append(b'%b: {"crc32": "%b", "tuned": %b}' % (key, crc32.encode(), _canonical(tuned)))
    head = f'{{"schema": {SCHEMA}, "workload": {json.dumps(workload)}, "sku": {json.dumps(sku)}, "entries": {{\n'
    body = head.encode() + b",\n".join(lines) + _encode_portfolios(portfolios)
    foot = b'\n}, "sha256": "%b", "size_bytes": %%12d}\n' % _sha256(workload, sku, checksums).encode()
    return body + foot % (len(body) + len(foot % 0))


def decode(data: bytes, where: str) -> list[TunedConfig]:
    """All entries; SnapshotError, which says `where`, where anything at all is wrong with them."""
    try:
        document = json.loads(data)
        if document["schema"] > SCHEMA:
            raise SnapshotError(
                f"{where} has schema {document['schema']}, and autotune {autotune.__version__} knows up to {SCHEMA}; "
                f"upgrade with `pip install -U gpu-autotune`."
            )
        return _decode_document(document, where)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise _damaged(error, where) from None


def find_line(file: int, gpus: int, problem: Problem) -> bytes | None:
    """The line of that entry, read block by block from the descriptor; empty where there is none.

    None where the file has not the layout and the length that it was written with: torn, edited, or just reformatted.
    """
    size_bytes = os.fstat(file).st_size
    tail_at = max(0, size_bytes - _BLOCK_BYTES)
    head = _HEAD.match(os.pread(file, _BLOCK_BYTES, 0))
    foot = _FOOT.search(os.pread(file, _BLOCK_BYTES, tail_at))
    if not head or not foot or int(foot[1]) != size_bytes:
        return None
    return _bisect(file, _key(gpus, problem), head.end(), tail_at + foot.start())


def decode_line(line: bytes, where: str) -> TunedConfig:
    """The entry of a line that `find_line` gave; SnapshotError where it is not as it was written."""
    try:
        [(key, entry)] = json.loads(b"{%b}" % line.removesuffix(b",")).items()
        return _decode_entry(key, entry, where)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise _damaged(error, where) from None


def problems(data: bytes, where: str) -> list[tuple[int, Problem]]:
    """The (gpus, problem) of every entry; their values are not read where the layout is as it was written."""
    foot = _FOOT.search(data, max(0, len(data) - _BLOCK_BYTES))
    if not foot or int(foot[1]) != len(data):
        return [(tuned.gpus, tuned.problem) for tuned in decode(data, where)]
    keys = [json.loads(match[1]).partition(" ") for match in map(_KEY.match, data.split(b"\n")) if match]
    return [(int(gpus), Problem.parse(text)) for gpus, _, text in keys]


def portfolios(data: bytes, where: str) -> list[Portfolio]:
    """All portfolios; of a file as it was written only their lines are read. One of a later kind is left out."""
    try:
        foot = _FOOT.search(data, max(0, len(data) - _BLOCK_BYTES))
        if not foot or int(foot[1]) != len(data):
            decode(data, where)  # reformatted, or damaged, which it tells
            lines = json.loads(data).get("portfolios", {})
        else:
            _, _, written = data[: foot.start()].partition(_PORTFOLIOS)
            lines = json.loads(b"{%b}" % written)
        found = (_decode_portfolio(key, line, where) for key, line in lines.items())
        return [one for one in found if one is not None]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error, where) from None


def _encode_portfolios(portfolios: Iterable[Portfolio]) -> bytes:
    """Empty where there are none: such a file is as it was before there were any."""
    by_key = {json.dumps(f"rule {one.measure}").encode(): _canonical(one.to_json()) for one in portfolios}
    lines = [
        b'%b: {"portfolio": %b, "crc32": "%b"}' % (key, value, _crc32(key, json.loads(value)).encode())
        for key, value in sorted(by_key.items())
    ]
    return _PORTFOLIOS + b",\n".join(lines) if lines else b""


def _decode_portfolio(key: str, line: Mapping[str, Any], where: str) -> Portfolio | None:
    if line["crc32"] != _crc32(json.dumps(key).encode(), line["portfolio"]):
        raise SnapshotError(f"{where}: the portfolio {key!r} does not match its checksum; {_MEND}.")
    try:
        return Portfolio.from_json(line["portfolio"])
    except (KeyError, TypeError, ValueError, AttributeError, UserError):
        return None


def _key(gpus: int, problem: Problem) -> bytes:
    return json.dumps(f"{gpus} {problem.text}").encode()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _crc32(key: bytes, tuned: Any) -> str:
    return f"{zlib.crc32(key + _canonical(tuned)):08x}"


def _sha256(workload: str, sku: str, checksums: Mapping[str, str]) -> str:
    return hashlib.sha256(_canonical([workload, sku, checksums])).hexdigest()


def _decode_document(document: Mapping[str, Any], where: str) -> list[TunedConfig]:
    workload, sku, entries = document["workload"], document["sku"], document["entries"]
    configs = [_decode_entry(key, entry, where) for key, entry in entries.items()]
    if _sha256(workload, sku, {key: entry["crc32"] for key, entry in entries.items()}) != document["sha256"]:
        raise SnapshotError(f"{where} does not match its checksum: entries were added or removed by hand; {_MEND}.")
    if any((tuned.workload, tuned.sku) != (workload, sku) for tuned in configs):
        raise SnapshotError(f"{where} holds entries of another workload or SKU; {_MEND}.")
    return configs


def _decode_entry(key: str, entry: Mapping[str, Any], where: str) -> TunedConfig:
    if entry["crc32"] != _crc32(json.dumps(key).encode(), entry["tuned"]):
        raise SnapshotError(f"{where}: the entry {key!r} does not match its checksum; {_MEND}.")
    return TunedConfig.from_json(entry["tuned"])


def _damaged(error: Exception, where: str) -> SnapshotError:
    if isinstance(error, SnapshotError):
        return error
    if isinstance(error, ValueError):
        return SnapshotError(f"{where} is torn or was edited by hand ({error}); {_MEND}.")
    return SnapshotError(f"{where} is not a snapshot of autotune ({type(error).__name__}: {error}); {_MEND}.")


def _bisect(file: int, key: bytes, low: int, high: int) -> bytes:
    """The line of that key between the offsets, or nothing."""
    while low < high:
        start, line = _line_around(file, (low + high) // 2, low, high)
        match = _KEY.match(line)
        found = match[1] if match else line
        if found == key:
            return line
        if found < key:
            low = start + len(line) + 1
        else:
            high = start
    return b""


def _line_around(file: int, at: int, low: int, high: int) -> tuple[int, bytes]:
    """The line between the offsets that holds byte `at`, and where it starts."""
    reach = _BLOCK_BYTES // 2
    while True:
        first, last = max(low, at - reach), min(high, at + reach)
        block = os.pread(file, last - first, first)
        start, end = block.rfind(b"\n", 0, at - first) + 1, block.find(b"\n", at - first)
        if (start or first == low) and (end >= 0 or last == high):
            return first + start, block[start : end if end >= 0 else len(block)]
        reach *= 4
