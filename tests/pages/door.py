"""A team's studio over the rig, and people who come to its door with a browser's manners. Knows no page."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pages.frame import opened, routes
from pages.frame.guard import RequestGuard
from pages.frame.session_routes import session_routes
from tests.supastub.rig import Person

ADDRESS = "http://127.0.0.1:8501"
SAME_ORIGIN = {"origin": ADDRESS}
COOKIE = "lora_studio_session_8501"


async def _document(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("page")


def browser(address: str = ADDRESS) -> TestClient:
    """Return a browser of its own (its own cookies), before the app's guard and routes."""
    app = Starlette(
        routes=[
            *routes.ROUTES,
            *session_routes(),
            Route("/", _document),
            Route("/_stcore/health", _document),
        ],
        middleware=[Middleware(RequestGuard, team=opened.who_is_in)],
    )
    return TestClient(app, base_url=address)


def sign_in(client: TestClient, person: Person):
    """Sign in as the form does."""
    return client.post(
        "/api/session", json={"email": person.email, "password": person.password}, headers=SAME_ORIGIN
    )
