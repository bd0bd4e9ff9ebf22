"""The archive of logs as Parquet files, one for each day (extra ``query``)."""
