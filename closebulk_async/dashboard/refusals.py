"""What a request gets that is not answered as it wishes."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp import web

from closebulk_async.errors import BadRequestError, CloseBulkError, InvalidRequestError, NotFoundError


class Refusal(Exception):
    """Ends the handling of a request with this status and a text for people."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.status = status


def answer_json(value: object, *, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def answer_error(text: str, *, status: HTTPStatus) -> web.Response:
    """The answer to a request that failed."""
    return answer_json({"error": text}, status=status)


def status_of(error: CloseBulkError) -> HTTPStatus:
    """The status of an answer that an error of the package's stands behind."""
    if isinstance(error, InvalidRequestError):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, BadRequestError):
        return HTTPStatus.CONFLICT
    return HTTPStatus.BAD_GATEWAY
