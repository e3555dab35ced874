"""A small WSGI server on 127.0.0.1, with threads, without an access log."""

from __future__ import annotations

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler
from werkzeug.serving import make_server as make_wsgi_server

LOOPBACK = "127.0.0.1"


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Names of files and people do not belong in a log."""

    def version_string(self) -> str:
        return "akashi-verifier"


def make_server(application: Flask, port: int) -> BaseWSGIServer:
    """A server that is bound and not yet serving; `port` 0 = any free one."""
    return make_wsgi_server(LOOPBACK, port, application, threaded=True, request_handler=_QuietHandler)
