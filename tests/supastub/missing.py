"""The rig's answer to what it does not do: 501 with a loud sentence, never a guess."""

from starlette.responses import JSONResponse


class NotInRig(Exception):
    """A request that a real project may well answer, and the rig does not."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def response(self) -> JSONResponse:
        """Return the 501."""
        body = {
            "code": "RIG501",
            "statusCode": "501",
            "error": "not_in_rig",
            "message": f"THE TEST RIG DOES NOT DO THIS: {self.what}",
            "hint": "Add it to tests/supastub as a real project does it, or do not use it in the product.",
            "details": None,
        }
        return JSONResponse(body, 501)
