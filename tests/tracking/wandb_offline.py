"""A reader of the `.wandb` file of an offline W&B run.

The file is a LevelDB log of protocol buffers behind a header of 7 bytes: blocks of 32 KiB, in which a chunk
is crc32 (4 bytes), length (2), type (1: whole, 2: first, 3: middle, 4: last) and that many bytes. The format
is private to W&B; wandb 0.31 writes it so.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32 * 1024
HEADER, CHUNK = 7, 7
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    run_id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    step_of: dict[str, str] = field(default_factory=dict)  # metric (or a glob of them) → its step metric
    exit_code: int | None = None


def read_offline_run(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        match record.WhichOneof("record_type"):
            case "run":
                stored = record.run
                run.run_id, run.name = stored.run_id, stored.display_name
                run.group, run.project = stored.run_group, stored.project
                run.config |= {item.key: json.loads(item.value_json) for item in stored.config.update}
            case "metric":
                run.step_of[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            case "history":
                run.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(data: bytes) -> Iterator[Record]:
    assert data[:4] == b":W&B", data[:HEADER]
    position, parts = HEADER, b""
    while position + CHUNK <= len(data):
        if BLOCK - position % BLOCK < CHUNK:  # the tail of a block that no chunk fits in
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        chunk = data[position + CHUNK : position + CHUNK + length]
        parts = chunk if kind in (WHOLE, FIRST) else parts + chunk
        position += CHUNK + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
