"""The reader's benchmark: the same questions to a gigabyte of logs, asked of this reader, grep, jq, lnav and DuckDB."""
