"""Exports of every entry: syslog, OpenTelemetry, and the metrics for Prometheus."""
