"""What both stores agree on about messages that leave the studio: limits, and the words of what becomes of them."""

MAX_ROUTES = 20
MAX_WAITING_TESTS = 3

OLDEST_HOURS = 24
"""A message that could not be handed out for so long is old news, and is not sent any more."""

LOST_ERROR = "The runner was lost while it sent this: it may have arrived."
TEST_TITLE = "A test from LoRA Studio"
TEST_BODY = "If you can read this, the route works."
TOO_MANY_ROUTES = f"There are {MAX_ROUTES} routes already."
TOO_MANY_TESTS = "Some tests of this route are waiting for a runner already."
NO_CLAIM = "This message is not this dispatcher's (any more)."
