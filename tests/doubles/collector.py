"""An OpenTelemetry collector on loopback, made of the official protobuf definitions."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from loopback import LoopbackServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse


class Collector(LoopbackServer):
    """Answers by a script of statuses, then takes everything.

    Args:
        take: Is given each request that is taken.
    """

    def __init__(self, take: Callable[[ExportLogsServiceRequest], object]) -> None:
        self.script: list[int] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status = collector.script.pop(0) if collector.script else 200
                if status == 200:
                    collector.paths.append(self.path)
                    take(ExportLogsServiceRequest.FromString(body))
                answer = ExportLogsServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)
