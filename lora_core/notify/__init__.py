"""Messages to people outside the studio: which addresses are allowed, what is said, and how it is sent.

The library that speaks to the services (apprise) runs in a child process only: it can be ended when it hangs, it sees no
other secret, and neither the app nor the runner loads it.
"""

from lora_core.notify.routes import ALLOWED_SCHEMES, mail_url, mask, route_seal
from lora_core.notify.sending import NotifyError, Refused, Uncertain, Unreachable, check_route_url, send
from lora_core.notify.words import describe

__all__ = [
    "ALLOWED_SCHEMES",
    "NotifyError",
    "Refused",
    "Uncertain",
    "Unreachable",
    "check_route_url",
    "describe",
    "mail_url",
    "mask",
    "route_seal",
    "send",
]
