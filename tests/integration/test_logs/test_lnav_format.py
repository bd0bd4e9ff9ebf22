"""The format file for lnav, with a real lnav."""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from metaexpert.logger import MetaLogger

FORMAT = Path(__file__).parents[3] / "deploy" / "lnav" / "metaexpert.json"


@pytest.mark.skipif(shutil.which("lnav") is None, reason="lnav is not installed (Debian: apt-get install lnav)")
def test_lnav_reads_the_files_with_our_format(tmp_path: Path) -> None:
    """lnav accepts the format file and finds time, level, message and fields of each entry."""
    with MetaLogger(expert_name="ema", symbol="BTCUSDT", log_to_console=False) as logger:
        logger.trade.info("Order filled", order_id="ord-1", price=70010.5)
        logger.error("Order rejected", order_id="ord-2")
    place = tmp_path / "lnav" / "formats" / "metaexpert"
    place.mkdir(parents=True)
    shutil.copy(FORMAT, place)
    checked = subprocess.run(["lnav", "-I", tmp_path / "lnav", "-C"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    query = ";SELECT log_level, log_body, order_id, price, symbol FROM metaexpert_log"
    words = ["lnav", "-I", str(tmp_path / "lnav"), "-n", "-c", query, "-c", ":write-csv-to -", "logs/expert.log"]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert list(csv.reader(io.StringIO(out)))[1:] == [
        ["info", "Order filled", "ord-1", "70010.5", "BTCUSDT"],
        ["error", "Order rejected", "ord-2", "<NULL>", "BTCUSDT"],
    ]
