"""Which addresses a notification may go to, and how one is shown. Opens no connection; in a team it resolves names.

An address (apprise's URL) holds its own secrets, so no error and no label repeats any of it but the scheme and the host of
a server of one's own.
"""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from lora_core.errors import ConfigError
from lora_core.vault import Seal

MAX_URL = 2000

SERVICES = {
    "slack": "Slack",
    "discord": "Discord",
    "tgram": "Telegram",
    "workflow": "Microsoft Teams",
    "workflows": "Microsoft Teams",
    "gchat": "Google Chat",
    "wxteams": "Webex",
    "webex": "Webex",
    "guilded": "Guilded",
    "pover": "Pushover",
    "pbul": "Pushbullet",
    "pagerduty": "PagerDuty",
    "opsgenie": "Opsgenie",
    "lark": "Lark",
    "feishu": "Feishu",
    "wecombot": "WeCom",
    "dingtalk": "DingTalk",
    "line": "LINE",
    "ifttt": "IFTTT",
    "zulip": "Zulip",
    "sendgrid": "SendGrid",
    "mailgun": "Mailgun",
    "resend": "Resend",
    "twilio": "Twilio",
}
"""Schemes whose server is the service's own, and what people call it."""

SERVERS = {
    "mailto": "E-mail",
    "mailtos": "E-mail",
    "ntfy": "ntfy",
    "ntfys": "ntfy",
    "gotify": "Gotify",
    "gotifys": "Gotify",
    "mmost": "Mattermost",
    "mmosts": "Mattermost",
    "matrix": "Matrix",
    "matrixs": "Matrix",
    "rocket": "Rocket.Chat",
    "rockets": "Rocket.Chat",
    "nctalk": "Nextcloud Talk",
    "nctalks": "Nextcloud Talk",
    "synology": "Synology Chat",
    "synologys": "Synology Chat",
    "hassio": "Home Assistant",
    "hassios": "Home Assistant",
    "signal": "Signal",
    "signals": "Signal",
    "json": "Webhook (JSON)",
    "jsons": "Webhook (JSON)",
    "form": "Webhook (form)",
    "forms": "Webhook (form)",
    "xml": "Webhook (XML)",
    "xmls": "Webhook (XML)",
}
"""Schemes whose server is named in the address."""

ALLOWED_SCHEMES = tuple(sorted(SERVICES | SERVERS))

WEBHOOKS = {
    "hooks.slack.com": ("slack", "/services/"),
    "discord.com": ("discord", "/api/webhooks/"),
    "discordapp.com": ("discord", "/api/webhooks/"),
}
"""Addresses as the services show them, by host: the scheme they stand for, and how their path begins."""

PARAMETERS = frozenset(
    {
        "alias",
        "api-version",
        "apikey",
        "auth",
        "avatar",
        "avatar_url",
        "batch",
        "bcc",
        "botname",
        "cc",
        "channel",
        "channels",
        "class",
        "click",
        "discovery",
        "e2ee",
        "email",
        "entity",
        "expire",
        "footer",
        "format",
        "from",
        "group",
        "id",
        "image",
        "interval",
        "key",
        "method",
        "mode",
        "msgtype",
        "name",
        "nid",
        "pass",
        "ping",
        "prefix",
        "preview",
        "priority",
        "region",
        "reply",
        "secret",
        "severity",
        "sid",
        "sig",
        "silent",
        "smtp",
        "sound",
        "tags",
        "team",
        "thread",
        "to",
        "token",
        "topic",
        "tts",
        "url_prefix",
        "user",
        "ver",
        "verify",
        "version",
        "workspace",
        "wrap",
        "xtags",
    }
)
"""What may stand behind the `?`. Left out on purpose: what reads files (template, pgp...), and what sends twice (retry)."""

_SCHEME = re.compile(r"([a-z]{2,20})://", re.ASCII)
_OWN_PARAMETERS = ("json", "form", "xml")
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")


def check_form(url: str) -> str:
    """Check what can be seen without asking anybody: length, scheme, parameters.

    Returns:
        The scheme.

    Raises:
        ConfigError: The address is not allowed; it is not repeated in the message.
    """
    if not url or len(url) > MAX_URL or not url.isprintable() or " " in url:
        raise ConfigError(f"An address has 1 to {MAX_URL} characters, without spaces.")
    found = _SCHEME.match(url)
    scheme = found.group(1) if found else ""
    parts: SplitResult | None = None
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        if scheme not in SERVICES:  # there a token stands where others have a port
            raise ConfigError("This is not an address.", _example()) from error
        host = ""
    if scheme == "https" and parts is not None and host in WEBHOOKS:
        scheme, beginning = WEBHOOKS[host]
        if not parts.path.startswith(beginning):
            raise ConfigError(f"This is not the address of a {SERVICES[scheme]} webhook.", _example())
    if scheme not in SERVICES and scheme not in SERVERS:
        raise ConfigError(f"{scheme or 'This'} is not among the services that may be used.", _example())
    own = scheme.removesuffix("s") in _OWN_PARAMETERS
    for name in _parameters(url):
        if name not in PARAMETERS and not (own and name[:1] in ("+", "-", ":")):
            raise ConfigError(
                "The address has a parameter that may not be used here.", f"Leave out: {name[:40]}"
            )
    return scheme


def _parameters(url: str) -> dict[str, str]:
    """Return what the library could take for parameters: it cuts at the first `?`, whatever stands before it."""
    _, _, asked = url.partition("?")
    pairs = (pair.partition("=") for pair in re.split("[?&;]", asked) if pair)
    return {unquote(name).strip().lower(): unquote(value).strip() for name, _, value in pairs}


def check_public(url: str) -> None:
    """Refuse addresses that lead into the network of whoever sends. Names that nobody knows now pass: sending checks again.

    Raises:
        ConfigError: A host of the address is private, loopback or link-local.
    """
    scheme = check_form(url)
    if scheme not in SERVERS:
        return
    hosts = [urlsplit(url).hostname or "", _parameters(url).get("smtp", "")]
    for host in hosts:
        name = host.rsplit("@", 1)[-1].strip("[]").rstrip(".").lower()
        if name and not _is_public_name(name):
            raise ConfigError(
                "In a team, messages go to public addresses only.",
                "A server inside a private network cannot be reached this way.",
            )


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet, whatever it is wrapped in.

    >>> [is_public(text) for text in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a00:1")]
    [True, False, False, False, False]
    """
    try:
        ip = ipaddress.ip_address(address.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def mask(url: str) -> str:
    """Say where an address leads without its secrets.

    >>> mask("slack://T1A/B2B/c3c3c3c3/#training"), mask("mailtos://ada:secret@smtp.example.org?to=ada@example.org")
    ('Slack', 'E-mail via smtp.example.org')
    """
    scheme = check_form(url)
    if scheme in SERVICES:
        return SERVICES[scheme]
    host = urlsplit(url).hostname or ""
    if scheme in ("mailto", "mailtos"):
        return f"E-mail via {host[:100]}"
    if scheme in ("ntfy", "ntfys") and not urlsplit(url).path.strip("/"):
        return "ntfy"  # then the host is the topic, which is as good as a password
    if scheme in (
        "synology",
        "synologys",
        "gotify",
        "gotifys",
        "json",
        "jsons",
        "form",
        "forms",
        "xml",
        "xmls",
    ):
        return f"{SERVERS[scheme]} at {host[:100]}"
    return f"{SERVERS[scheme]} at {host[:100]}" if urlsplit(url).path.strip("/") else SERVERS[scheme]


def mail_url(server: str, port: int, user: str, password: str, to: str) -> str:
    """Write the address of a route by e-mail.

    Args:
        server: Host of the mail server (SMTP).
        port: 465 for TLS from the start; others begin it after connecting.
        user: For signing in there; the sender too, if it is an e-mail address.
        to: Who gets the messages.

    Raises:
        ConfigError: The server or the receiver is none.
    """
    host = server.strip().lower()
    if not re.fullmatch(r"[a-z0-9.-]{1,253}", host):
        raise ConfigError("The mail server is a host name, such as smtp.example.org.")
    if not re.fullmatch(r"[^@\s,]+@[^@\s,]+", to.strip()):
        raise ConfigError("Who gets the messages is an e-mail address, such as ada@example.org.")
    sender = user.strip() if "@" in user else to.strip()
    signed = f"{quote(user.strip(), safe='')}:{quote(password, safe='')}@" if user.strip() else ""
    asked = {"to": to.strip(), "from": sender, "smtp": host, "mode": "ssl" if port == 465 else "starttls"}
    return f"mailtos://{signed}{host}:{port}?{urlencode(asked)}"


def route_seal(user_id: str, route_id: str) -> Seal:
    """Return what a route's address is sealed for: this route of this person."""
    return Seal("notification route", owner=user_id, row=route_id)


def _is_public_name(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return is_public(name)
    if name == "localhost" or name.endswith(_LOCAL_NAMES[1:]):
        return False
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(is_public(str(entry[4][0])) for entry in found)


def _example() -> str:
    return (
        "The help beside the field shows the form for each service; docs/notifications.md lists all of them."
    )
