"""What the routes answer when something is wrong: the studio's errors as HTTP."""

from starlette.responses import JSONResponse

from lora_core.errors import (
    ConfigError,
    Conflict,
    DataError,
    DiskFull,
    Forbidden,
    NotAllowed,
    NotFound,
    SignedOut,
    StudioError,
    TooLarge,
    TooOften,
    Unavailable,
)

STATUS_OF: dict[type[StudioError], int] = {
    SignedOut: 401,
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 409,
    Forbidden: 403,
    TooLarge: 413,
    TooOften: 429,
    DataError: 422,
    ConfigError: 422,
    DiskFull: 507,
    Unavailable: 503,
}


def error_response(error: StudioError) -> JSONResponse:
    """Put an error of the studio into HTTP: its status, and the words a page shows."""
    status = next((code for kind, code in STATUS_OF.items() if isinstance(error, kind)), 400)
    return JSONResponse({"message": error.message, "next_step": error.next_step}, status_code=status)
