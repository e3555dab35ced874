"""JSON-RPC over HTTP on the loopback interface: the embedded chain's only door.

Loopback only, POST only, no authentication: whoever has a shell on this machine could read the file just as
well.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import orjson

from chain.devnode.blockchain import RpcError
from chain.devnode.rpc import Methods
from verifier.fault import ToldByPlace, describe_fault

MAX_BODY: Final = 1 << 20
MAX_BATCH: Final = 100
LOOPBACK: Final = "127.0.0.1"


class RpcServer(ToldByPlace, ThreadingHTTPServer):
    """One server for one chain; `server_port` tells the port when 0 was asked for."""

    daemon_threads = True

    def __init__(self, methods: Methods, port: int) -> None:
        self.methods = methods
        super().__init__((LOOPBACK, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # without these two each keep-alive answer waits 40 ms for the peer's acknowledgement
    wbufsize = -1
    disable_nagle_algorithm = True
    server: RpcServer

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MAX_BODY:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        try:
            # orjson bounds the depth; the EVM library raises Python's limit so far that the standard parser would crash.
            request = orjson.loads(body)
        except ValueError:
            self._answer(_error(None, RpcError(-32700, "not JSON")))
            return
        if isinstance(request, list) and 0 < len(request) <= MAX_BATCH:
            self._answer([self._call(item) for item in request])
        else:
            self._answer(self._call(request))

    def _call(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _error(None, RpcError(-32600, "not a request"))
        params = request.get("params") or []
        number = request.get("id")
        if not isinstance(params, list):
            return _error(number, RpcError(-32602, "parameters are a list"))
        try:
            return {
                "jsonrpc": "2.0",
                "id": number,
                "result": self.server.methods.call(request["method"], params),
            }
        except RpcError as error:
            return _error(number, error)
        except Exception as error:  # the node must outlive a fault of the EVM library; the caller sees it
            print(f"devnode: {describe_fault(error)}", file=sys.stderr)
            return _error(number, RpcError(-32603, f"internal error: {type(error).__name__}"))

    def _answer(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line a call would drown everything else."""


def _error(number: Any, error: RpcError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {"jsonrpc": "2.0", "id": number, "error": body}
