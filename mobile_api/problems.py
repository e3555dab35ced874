"""Errors as RFC 9457 problem details, and the one place where exceptions become HTTP answers.

A store that is away is 503 with Retry-After, never 500. What an exception says stays here: the answer
carries a code and a fixed sentence, so that neither SQL nor a body leaks.
"""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask, Response
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from mobile_api.errors import Problem
from verifier.errors import FormatError, LimitError
from verifier.fault import describe_fault
from verifier.formats.encoding import canonical_json

MEDIA_TYPE: Final = "application/problem+json"
STORE_RETRY_AFTER: Final = 5

_TITLES: Final = {
    400: "Bad request / 要求の形が正しくありません",
    401: "Not authenticated / 認証できません",
    403: "Not allowed / 許可されていません",
    404: "Not found / 見つかりません",
    405: "Method not allowed / この操作はできません",
    409: "Conflict / 状態が合いません",
    411: "Length required / 長さが必要です",
    413: "Too large / 大きすぎます",
    415: "Unsupported media type / 形式が違います",
    429: "Too many requests / 回数が多すぎます",
    500: "Internal error / 内部エラー",
    503: "Unavailable / いま利用できません",
}


def problem_response(status: int, code: str, detail: str, retry_after: int | None = None) -> Response:
    """The problem document. `type` is about:blank-like and stable: urn:akashi:problem:<code>."""
    document = {
        "code": code,
        "detail": detail,
        "status": status,
        "title": _TITLES.get(status, "Error / エラー"),
        "type": f"urn:akashi:problem:{code}",
    }
    response = Response(canonical_json(document), status=status, content_type=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def register_problems(app: Flask) -> None:
    """Install the error handlers."""
    log = logging.getLogger("akashi.door")

    @app.errorhandler(Problem)
    def _problem(error: Problem) -> Response:
        return problem_response(error.status, error.code, error.detail, error.retry_after)

    @app.errorhandler(FormatError)
    def _format(error: FormatError) -> Response:
        return problem_response(413 if isinstance(error, LimitError) else 400, error.code, error.detail)

    @app.errorhandler(SQLAlchemyError)
    def _store(error: SQLAlchemyError) -> Response:
        log.error("store-away %s", type(error).__name__)
        return problem_response(503, "store-away", "the store does not answer; try again", STORE_RETRY_AFTER)

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        status = error.code or 500
        code = (error.name or "error").lower().replace(" ", "-")
        response = problem_response(status, code, "")
        if status == 405 and (allow := dict(error.get_headers()).get("Allow")):
            response.headers["Allow"] = allow
        return response

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        # The type and the place, not the message: an exception's text may quote what was sent.
        log.error("internal-error %s", describe_fault(error))
        return problem_response(500, "internal-error", "")
