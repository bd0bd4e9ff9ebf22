"""An archive as other programs read it: they see the rows and types that it was made of.

pyarrow, polars, Spark and chdb, the engine of ClickHouse, are too large for everybody's environment. With them:
``uv run --with pyarrow --with polars --with chdb --with pyspark pytest -m program -k archive_readers``.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logs import Entry, open_logs
from metaexpert.logs.archive.export import export

pytest.importorskip("duckdb")
pytestmark = pytest.mark.program

MONEY = ("price", "size", "fee", "pnl")
TEXTS = ("level", "message", "expert_name", "symbol", "order_id", "side", "hostname", "procid", "msgid")
COLUMNS = ("timestamp", "sequence_id", "severity", "file", "line", *MONEY, *TEXTS)
Row = tuple[Any, ...]


@pytest.fixture
def archive() -> Path:
    """An archive of ``logs``: numbers as floats, integers and exact text, texts beyond ASCII, and no value at all."""
    prices: list[Any] = [70000.5, "0.30000000000000000001", 1e-18, -12, "12345678901234567890.123456789012345678", None]
    with MetaLogger(install=False, expert_name="EmaBot", symbol="BTCUSDT", log_to_console=False) as logger:
        for number, price in enumerate(prices * 3):
            logger.trade.info(f"Filled é {number}", order_id=f"ord-{number}", side="BUY", size="0.1", price=price)
        logger.error("Order rejected\n\u2028", order_id="007", fee=0)
    with Path("logs/expert.log").open("ab") as log:
        log.write(b'{"timestamp":"torn\n')
    export(open_logs("logs"), Path("archive"))
    return Path("archive")


def wanted() -> list[Row]:
    """Return what `open_logs` reads in the logs themselves, in the types of the archive."""
    rows = []
    for record in open_logs("logs"):
        if isinstance(record, Entry):
            data = json.loads(record.line)
            money = [None if data.get(name) is None else _exact(data[name]) for name in MONEY]
            header = (record.time, record.sequence_id, data["severity"], record.file, record.line.decode())
            rows.append((*header, *money, *(data.get(name) for name in TEXTS)))
    assert len(rows) == 19
    return rows


def _exact(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("1e-18"), context=Context(prec=60))


def test_pandas_reads_the_archive(archive: Path) -> None:
    """Times with their zone, exact decimals and integers, in the order of the logs."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="pandas reads Parquet with pyarrow, which is not installed")
    frame = pandas.read_parquet(archive, engine="pyarrow", dtype_backend="pyarrow")
    assert [str(frame.dtypes[name]) for name in ("timestamp", "sequence_id", "severity", "price", "line")] == [
        "timestamp[us, tz=UTC][pyarrow]", "int64[pyarrow]", "uint8[pyarrow]", "decimal128(38, 18)[pyarrow]",
        "string[pyarrow]",
    ]  # fmt: skip
    entries = frame[frame["line"].notna()]
    read = [tuple(None if pandas.isna(value) else value for value in row) for row in entries[list(COLUMNS)].values]
    assert read == wanted()
    assert {type(row[5]) for row in read} == {Decimal, type(None)}
    assert [*frame[frame["line"].isna()]["text"]] == ['{"timestamp":"torn']


def test_polars_reads_the_archive(archive: Path) -> None:
    """The same, without pyarrow."""
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.read_parquet(archive / "*" / "*.parquet", hive_partitioning=False)
    assert [frame.schema[name] for name in ("timestamp", "sequence_id", "severity", "price")] == [
        polars.Datetime("us", "UTC"), polars.Int64, polars.UInt8, polars.Decimal(38, 18),
    ]  # fmt: skip
    read = frame.filter(polars.col("line").is_not_null()).select(COLUMNS).rows()
    assert read == wanted()
    assert isinstance(read[0][0], datetime)


def test_clickhouse_reads_the_archive(archive: Path) -> None:
    """The same, by the engine of ClickHouse, which takes the day of a file from its path."""
    chdb = pytest.importorskip("chdb", reason="chdb, the engine of ClickHouse, is not installed")
    names = ", ".join(f"`{name}`" for name in COLUMNS)
    found = f"FROM file('{archive.resolve()}/*/entries.parquet') WHERE line IS NOT NULL"
    table = chdb.query(f"SELECT {names} {found} ORDER BY timestamp, sequence_id", "ArrowTable")
    assert [str(table.schema.field(name).type) for name in ("timestamp", "sequence_id", "severity", "price")] == [
        "timestamp[us, tz=UTC]", "int64", "uint8", "decimal128(38, 18)",
    ]  # fmt: skip
    assert list(zip(*(table.column(name).to_pylist() for name in COLUMNS), strict=True)) == wanted()
    days = chdb.query(f"SELECT DISTINCT date {found} AND date = toDate(timestamp) ORDER BY date", "TSV")
    assert str(days).split() == sorted({f"{row[0]:%Y-%m-%d}" for row in wanted()})


@pytest.mark.timeout(300)
def test_spark_reads_the_archive(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, by Spark, which takes the day of a file from its path and reads only the files of the days wanted."""
    sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    if not shutil.which("java"):
        pytest.skip("Spark needs Java, which is not installed")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {"spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC", "spark.driver.host": "127.0.0.1"}
    spark = sql.SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        frame = spark.read.parquet("archive")
        types = dict(frame.dtypes)
        assert [types[name] for name in ("timestamp", "sequence_id", "severity", "price", "line", "date")] == [
            "timestamp", "bigint", "smallint", "decimal(38,18)", "string", "date",
        ]  # fmt: skip
        rows = frame.where("line IS NOT NULL").orderBy("timestamp", "sequence_id").select(*COLUMNS).collect()
        # It gives times without a zone, in that of this process.
        assert [(row[0].astimezone(UTC), *row[1:]) for row in rows] == wanted()
        days = [date.fromisoformat(day) for day in sorted({f"{row[0]:%Y-%m-%d}" for row in wanted()})]
        assert [row.date for row in frame.select("date").distinct().orderBy("date").collect()] == days
        assert frame.where(f"date >= '{days[0]}'").count() == 20
    finally:
        spark.stop()
