"""How the other end is known. One for all connections of a process: to read the list of authorities takes longer than a call."""

import ssl
from functools import cache

import httpx


@cache
def tls() -> ssl.SSLContext:
    """Return what connections check certificates with. It may be shared between threads and people."""
    return httpx.create_ssl_context()
