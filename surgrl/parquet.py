"""A table of actions as Parquet, for those who have pyarrow."""

import csv
from itertools import islice
from pathlib import Path

ROWS = 50_000           # of a row group
WORDS = ("reasons", "picture", "picture_reason")
WHOLE = ("frame", "hold")


def write_parquet(table: Path, path: Path) -> None:
    """The same columns; numbers as float64, `frame` as int64, `hold` as bool; null where a cell is empty."""
    import pyarrow as pa
    from pyarrow import parquet

    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        names = next(rows)
        kinds = [pa.string() if name in WORDS else pa.int64() if name == "frame" else
                 pa.bool_() if name == "hold" else pa.float64() for name in names]
        with parquet.ParquetWriter(path, pa.schema(list(zip(names, kinds, strict=True)))) as writer:
            while piece := list(islice(rows, ROWS)):
                columns = [pa.array([_cell(cell, name) for cell in column], kind)
                           for column, name, kind in zip(zip(*piece, strict=True), names, kinds, strict=True)]
                writer.write_table(pa.table(columns, names=names))


def _cell(cell: str, name: str) -> str | int | bool | float | None:
    if name in WORDS:
        return cell
    if name in WHOLE:
        return cell == "1" if name == "hold" else int(cell)
    return float(cell) if cell else None
