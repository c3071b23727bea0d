"""Read safetensors headers strictly, without the library: every tensor's place, or a refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import ArtefactError

MAX_HEADER = 10_000_000
"""Bytes. About 100,000 tensors; parsing more takes longer than a refusal may."""

MAX_JSON = 64_000_000
"""Bytes of an index; the largest published ones have about 10 MB."""

MAX_SIZE = 2**63 - 1

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of one element of each type that safetensors 0.8 knows."""

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARDS = "model-*-of-*.safetensors"


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies in its file."""

    dtype: str
    """Type of its elements, as safetensors names it."""
    shape: tuple[int, ...]
    """Its dimensions."""
    start: int
    """First byte, counted from the start of the file."""
    end: int
    """One past its last byte."""


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a safetensors file.

    The library accepts a header with a duplicate key; this doesn't. Nothing but the header is read.

    Raises:
        ArtefactError: The header is not one, or it doesn't describe exactly the bytes after it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length < 2 or length > size - 8:
            raise broken(path, f"it says that its header has {length} bytes, in a file of {size}")
        if length > MAX_HEADER:
            raise broken(path, f"its header has {length} bytes, more than the {MAX_HEADER} allowed")
        raw = file.read(length)
    header = parse_object(raw, path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise broken(path, "its `__metadata__` is not text by name")
    first = 8 + length
    tensors = {name: _tensor(path, name, entry, first) for name, entry in header.items()}
    position = first
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != position:
            what = "overlaps the tensor before it" if tensor.start < position else "follows a hole"
            raise broken(path, f"`{_short(name)}` {what}")
        position = tensor.end
    if position != size:
        raise broken(path, f"its tensors end at byte {position}, the file at byte {size}")
    return tensors


def tensor_names(folder: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a model folder, across its shards.

    Raises:
        ArtefactError: There are no safetensors, or the index and its shards disagree.
    """
    return {name: info for _, name, info in _located(folder)}


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold a folder's weights, as transformers chooses them.

    Raises:
        ArtefactError: There are none, or the index names files that it must not.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        return [folder / shard for shard in sorted(set(read_index(folder / INDEX).values()))]
    raise ArtefactError(
        f"`{folder}` has no `{SINGLE}`.",
        fix="Give a folder with a model in Hugging Face format, saved as safetensors.",
    )


def read_index(path: Path) -> dict[str, str]:
    """Return the shard of each tensor; every shard is a plain file name beside the index.

    Raises:
        ArtefactError: The index is not one, names a file elsewhere or absent, or leaves one out.
    """
    if path.stat().st_size > MAX_JSON:
        raise broken(path, f"it has more than {MAX_JSON} bytes")
    places = parse_object(path.read_bytes(), path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise broken(path, "it has no `weight_map`")
    for shard in places.values():
        plain = isinstance(shard, str) and shard.endswith(".safetensors")
        if not plain or "/" in shard or "\\" in shard or "\0" in shard or shard.startswith("."):
            raise broken(path, f"it names {_short(shard)!r}, which is no file beside it")
    named = set(places.values())
    if missing := sorted(shard for shard in named if not (path.parent / shard).is_file()):
        raise broken(path, f"it names `{missing[0]}`, which is missing ({len(missing)} such)")
    if extra := sorted({file.name for file in path.parent.glob(SHARDS)} - named):
        raise broken(path, f"`{extra[0]}` lies beside it but is not named in it")
    return places


def non_finite(folder: Path) -> list[str]:
    """Return the names of the tensors in a model folder that hold NaN or infinity."""
    import numpy as np

    found = []
    for file, name, info in _located(folder):
        if info.dtype not in _NOT_FINITE or info.start == info.end:
            continue
        stored, bits = _NOT_FINITE[info.dtype]
        data = np.memmap(file, np.uint8, "r", info.start, (info.end - info.start,)).view(stored)
        step = 1 << 22  # elements: a few temporaries of this size, not of the tensor's
        if any(((data[i : i + step] & bits) == bits).any() for i in range(0, len(data), step)):
            found.append(name)
    return found


_NOT_FINITE: dict[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "C64": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),
    "F8_E8M0": ("u1", 0xFF),
}
"""How wide each floating type is, and the bits that are all set when a number is not finite."""


def parse_object(raw: bytes, path: Path) -> dict[str, Any]:
    """Parse a JSON object whose keys are all different.

    Raises:
        ArtefactError: It is anything else.
    """
    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise broken(path, f"its JSON cannot be read ({_short(str(error))})") from None
    if not isinstance(parsed, dict):
        raise broken(path, "its JSON is not an object")
    return parsed


def broken(path: Path, why: str) -> ArtefactError:
    """Return the refusal of a file."""
    return ArtefactError(
        f"`{path}` is refused: {why}.",
        fix="Get the file again from a source you trust.",
        where=str(path),
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {_short(twice)!r} stands twice")
    return result


def _tensor(path: Path, name: str, entry: Any, first: int) -> TensorInfo:
    """Check one entry of a header by itself."""
    called = f"`{_short(name)}`"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise broken(path, f"{called} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise broken(path, f"{called} has the unknown type {_short(dtype)!r}")
    if not _counts(shape) or len(shape) > 64 or math.prod(shape) > MAX_SIZE // BITS[dtype]:
        raise broken(path, f"{called} has an impossible shape")
    if not _counts(offsets) or len(offsets) != 2:
        raise broken(path, f"{called} has impossible offsets")
    bits = math.prod(shape) * BITS[dtype]
    if bits % 8 or offsets[1] - offsets[0] != bits // 8:
        raise broken(path, f"{called} has a shape that doesn't fit its bytes")
    return TensorInfo(dtype, tuple(shape), first + offsets[0], first + offsets[1])


def _counts(value: Any) -> bool:
    """Tell whether a value is a list of numbers that can count something on a machine."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= MAX_SIZE for n in value)


def _short(text: object, limit: int = 80) -> str:
    """Return a name from a hostile file at a length that can be shown."""
    shown = str(text)
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _located(folder: Path) -> Iterator[tuple[Path, str, TensorInfo]]:
    """Yield (file, name, tensor) for a folder's weights; index and shards must agree."""
    files = weight_files(folder)
    sharded = files[0].name != SINGLE
    places = read_index(folder / INDEX) if sharded else {}
    for file in files:
        tensors = read_header(file)
        expected = {name for name, shard in places.items() if shard == file.name}
        if sharded and (odd := sorted(expected.symmetric_difference(tensors))):
            where = "the index" if odd[0] in expected else "the shard"
            raise broken(file, f"`{_short(odd[0])}` is only in {where}, of index and shard")
        for name, info in tensors.items():
            yield file, name, info
