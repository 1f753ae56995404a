"""How a problem becomes an HTTP answer: the two keys, and a status that says only what a proxy must act on."""

from typing import Any

from starlette.responses import JSONResponse

from shared.contract.messages import Answer
from shared.errors import Problem, Unavailable
from shared.vocabulary import Language

OK = 200
MALFORMED = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
WRONG_METHOD = 405
HEAD_TOO_SLOW = 408
TOO_LONG = 413
UNSUPPORTED = 415
WRONG_RANGE = 416
TOO_MANY = 429
BAD_UPSTREAM = 502
UNAVAILABLE = 503
TOO_SLOW = 504
NO_ROOM = 507

_HEADERS = {
    UNAUTHORIZED: {"www-authenticate": "Bearer"},
    MALFORMED: {"connection": "close"},  # where its next request begins is not known
    HEAD_TOO_SLOW: {"connection": "close"},
}


class HttpProblem(Problem):
    """A problem before a handler is reached, not in the request's fields: its status is not 200."""

    def __init__(self, status: int, key: str, /, **facts: object) -> None:
        super().__init__(key, **facts)
        self.status = status


def status_of(problem: Problem) -> int:
    """Return 200 for every answer that the contract covers, else what a proxy must know."""
    if isinstance(problem, HttpProblem):
        return problem.status
    return UNAVAILABLE if isinstance(problem, Unavailable) else OK


def answer_to(problem: Problem, language: Language, status: int | None = None) -> JSONResponse:
    """Return the answer with the problem's sentence, with the contract's status unless another one is given."""
    status = status or status_of(problem)
    return JSONResponse(Answer.refused(problem.sentence(language)).model_dump(), status, _HEADERS.get(status))


def is_answer(body: Any) -> bool:
    """Tell whether a decoded body has the contract's shape: exactly the two keys, of the right types."""
    return (
        isinstance(body, dict)
        and body.keys() == {"err_code", "err_msg"}
        and body["err_code"] in (0, -1)
        and isinstance(body["err_msg"], str)
    )
