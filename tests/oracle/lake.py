"""Reads a Delta table by its log: the files that were added and not removed since."""

import json
import urllib.parse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# What a contract's type is in the lake.
TYPES = {
    "boolean": pa.bool_(), "int": pa.int32(), "bigint": pa.int64(), "double": pa.float64(), "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"), "text": pa.string(),
}  # fmt: skip


def actions(folder):
    """What the log says, from the last checkpoint on."""
    log = Path(folder) / "_delta_log"
    begun = -1
    last = log / "_last_checkpoint"
    if last.exists():
        begun = json.loads(last.read_text())["version"]
        for part in sorted(log.glob(f"{begun:020}.checkpoint*.parquet")):
            for row in pq.read_table(part).to_pylist():
                yield {kind: value for kind, value in row.items() if value is not None}
    for commit in sorted(log.glob("*.json")):
        if commit.stem.isdigit() and int(commit.stem) > begun:
            for line in commit.read_text().splitlines():
                yield json.loads(line)


def live_files(folder):
    files = {}
    for action in actions(folder):
        if "add" in action:
            added = action["add"]
            if added.get("deletionVector") or added.get("partitionValues"):
                raise ValueError(f'"{folder}" has deletion vectors or partitions, which are not read here')
            files[added["path"]] = True
        elif "remove" in action:
            files.pop(action["remove"]["path"], None)
    return [Path(folder) / urllib.parse.unquote(path) for path in files]


def arrow_type(words):
    if words.startswith("decimal("):
        precision, scale = words[8:-1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return TYPES[words.split("(")[0]]


def rows(folder, columns):
    """The table's rows as dicts: instants as microseconds since 1970. Columns and their types must be the contract's."""
    if not (Path(folder) / "_delta_log").is_dir():
        raise ValueError(f'there is no Delta table in "{folder}"')
    found = []
    for file in live_files(folder):
        read = pq.read_table(file, partitioning=None)
        if read.column_names != list(columns):
            raise ValueError(f'"{folder}" has the columns {", ".join(read.column_names)}, and the contract {", ".join(columns)}')
        for position, (column, words) in enumerate(columns.items()):
            values, expected = read.column(position), arrow_type(words)
            if values.type != expected:
                raise ValueError(f'column "{column}" of "{folder}" is {values.type}, and by its contract {expected}')
            if pa.types.is_timestamp(expected):
                read = read.set_column(position, column, values.cast(pa.int64()))
        found.extend(read.to_pylist())
    return found
