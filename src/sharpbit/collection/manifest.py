"""The manifest of a collection: a Parquet file with a row for each file, beside the results.

While a run goes on, rows go to small files of their own (`.sharpbit/rows-*.parquet`); at the end of a run, or at the
beginning of the next where one was killed, they become part of `manifest.parquet`, which is replaced as a whole.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharpbit.collection.places import OWN, Item, Place, recordable
from sharpbit.errors import UsageError
from sharpbit.system.extras import loaded

MANIFEST = "manifest.parquet"
THERE = "its result was there before the manifest had it"  # a run was killed between the two
ROWS, SECONDS = 1000, 10.0  # how many rows, or how long, until rows that are known are written

Row = dict[str, Any]
NEEDED = ("path", "status", "bytes", "modified", "result")  # without which nothing is known of a file
COLUMNS = {
    "path": "string",
    "sha256": "string",
    "bytes": "int64",
    "modified": "string",
    "width": "int32",
    "height": "int32",
    "result": "string",
    "result_bytes": "int64",
    "result_width": "int32",
    "result_height": "int32",
    "model": "string",
    "scale": "float64",
    "status": "string",
    "seconds": "float64",
    "finished": "float64",
    "note": "string",
    "error": "string",
}
"""The columns and their types.

Sizes are in pixels, times in seconds, `finished` since 1970; `status` is `done`, `failed` or `ignored`; `result` is the
path inside of the folder of results, of a file that failed that of an older result of it.
"""


def row_of(item: Item, status: str, **facts: Any) -> Row:
    """The row of a file, with what is known of it; of one that failed, a result of what it was before stays named."""
    row: Row = {
        **dict.fromkeys(COLUMNS),
        "result": item.replaces if status == "failed" else "",
        "note": "",
        "error": "",
        "seconds": 0.0,
        "finished": time.time(),
    }
    row |= {"path": item.path, "bytes": item.bytes, "modified": item.modified, "status": status} | facts
    return row | {key: recordable(row[key] or "") for key in ("error", "note")}


def row_of_other(item: Item) -> Row:
    """The row of a file that is not to be upscaled: it is ignored, or cannot be taken."""
    if item.error:
        return row_of(item, "failed", error=item.error)
    return row_of(item, "ignored", note=item.ignored or "")


def schema() -> Any:
    """The columns as pyarrow knows them."""
    arrow = loaded("pyarrow", "a manifest", "batch")
    return arrow.schema([(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()])


@dataclass(frozen=True)
class Known:
    """What the manifest has of a file.

    Attributes:
        status: `done`, `failed` or `ignored`.
        bytes: Its size in bytes when that was found.
        modified: What changes when the file does.
        result: The path of the result inside of the folder of results; empty where there is none.
        error: The reason of a failure.
    """

    status: str
    bytes: int
    modified: str
    result: str
    error: str

    def holds(self, item: Item) -> bool:
        """Whether the file is still the one that it was."""
        return (self.bytes, self.modified) == (item.bytes, item.modified)


class Manifest:
    """The manifest in a folder of results.

    Args:
        results: The folder.
    """

    def __init__(self, results: Place) -> None:
        self.results = results
        self._arrow = loaded("pyarrow", "a manifest", "batch")
        self._parquet = loaded("pyarrow.parquet", "a manifest", "batch")
        self._rows: list[Row] = []
        self._flushed, self._parts = time.monotonic(), 0

    def known(self) -> dict[str, Known]:
        """What earlier runs have recorded, by path; rows of a run that was killed are merged first.

        Raises:
            UsageError: the manifest cannot be read.
        """
        self.merge()
        if not self.results.exists(MANIFEST):
            return {}
        columns = [*NEEDED, "error"]  # in the order of `Known`
        table = self._read(self.results.of(MANIFEST), columns)
        values = [table.column(name).to_pylist() for name in columns]
        return {path: Known(*rest) for path, *rest in zip(*values, strict=True)}

    def add(self, row: Row) -> None:
        """Record what became of a file; it is written within seconds."""
        self._rows.append(row)
        if len(self._rows) >= ROWS or time.monotonic() - self._flushed > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not written yet, to a file of their own."""
        if self._rows:
            self._parts += 1
            name = f"{OWN}/rows-{time.time_ns()}-{os.getpid()}-{self._parts}.parquet"
            self._write(name, self._arrow.Table.from_pylist(self._rows, schema()))
            self._rows = []
        self._flushed = time.monotonic()

    def merge(self) -> None:
        """Make the manifest hold every row that was written, of each path the last."""
        self.flush()
        parts = sorted(path for path in self.results.files(OWN) if Path(path).name.startswith("rows-"))
        if not parts:
            return
        tables = [self._read(self.results.of(MANIFEST))] if self.results.exists(MANIFEST) else []
        whole = self._arrow.concat_tables([*tables, *(self._read(part) for part in parts)])
        last = {path: number for number, path in enumerate(whole.column("path").to_pylist())}
        self._write(MANIFEST, whole.take([last[path] for path in sorted(last)]), replace=True)
        for part in parts:
            self.results.remove(part)

    def settle(self, identity: Mapping[str, Any]) -> None:
        """Keep what results of this folder are made with, or compare it with what they were made with before.

        Raises:
            UsageError: they were made otherwise.
        """
        path = f"{OWN}/settings.json"
        if not self.results.exists(path):
            self.results.write(path, json.dumps(identity, indent=2).encode())
            return
        try:
            before = {**json.loads(self.results.read(path))}
        except (ValueError, TypeError):
            name = self.results.name_of(path)
            raise UsageError(
                f"{name} is damaged, which keeps what results were made with; remove it if that was as now"
            ) from None
        # What this version has and the one before had not is new, and nobody could give it.
        other = [key for key, value in identity.items() if before.get(key, value) != value]
        if other and all(file.startswith(self.results.of(f"{OWN}/")) for file in self.results.files()):
            self.results.write(path, json.dumps(identity, indent=2).encode(), replace=True)  # nothing was made so
        elif other:
            old, new = ("not given" if each.get(other[0]) is None else each[other[0]] for each in (before, identity))
            raise UsageError(
                f"{self.results.url} holds results with {other[0]} {old}, and now it is {new}; give the same again, or"
                " another folder for the results"
            )

    def _read(self, path: str, columns: list[str] | None = None) -> Any:
        """The columns that this version knows; those that the file has not are empty."""
        kinds = schema() if columns is None else self._arrow.schema([schema().field(name) for name in columns])
        with self.results.reached():
            try:
                with self.results.fs.open(path, "rb") as file:
                    opened = self._parquet.ParquetFile(file)
                    names = set(opened.schema_arrow.names)
                    if lost := [name for name in NEEDED if name not in names]:
                        raise ValueError(f"it has no column {lost[0]}")
                    table = opened.read([name for name in kinds.names if name in names])
                for field in kinds:
                    if field.name not in names:
                        table = table.append_column(field, self._arrow.nulls(len(table), field.type))
                return table.select(kinds.names).cast(kinds)
            except (self._arrow.ArrowException, ValueError, OSError) as error:
                raise UsageError(
                    f"the manifest {path} cannot be read ({str(error).rstrip('.')}); move it away, and it is made again"
                ) from None

    def _write(self, path: str, table: Any, *, replace: bool = False) -> None:
        data = io.BytesIO()
        self._parquet.write_table(table, data, compression="zstd")
        self.results.write(path, data.getvalue(), replace=replace)
