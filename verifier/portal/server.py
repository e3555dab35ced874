"""A small WSGI server on 127.0.0.1, with threads, without an access log."""

from __future__ import annotations

import sys

from flask import Flask
from werkzeug.serving import BaseWSGIServer, ThreadedWSGIServer, WSGIRequestHandler

from verifier.fault import ToldByPlace

LOOPBACK = "127.0.0.1"


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Names of files and people do not belong in a log."""

    def version_string(self) -> str:
        return "akashi-verifier"


class _QuietServer(ToldByPlace, ThreadedWSGIServer):
    def log(self, type: str, message: str, *args: object) -> None:
        """Only that something went wrong: the library's message is a traceback with the exception's text."""
        print("portal: a request failed outside the application", file=sys.stderr, flush=True)


def make_server(application: Flask, port: int) -> BaseWSGIServer:
    """A server that is bound and not yet serving; `port` 0 = any free one."""
    return _QuietServer(LOOPBACK, port, application, _QuietHandler)
