"""How a message of the bell looks: an icon for what it tells."""

from lora_core.schema.notification import Notification

ICONS = {
    "completed": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "paused": ":material/pause_circle:",
    "started": ":material/play_circle:",
}


def message_icon(message: Notification) -> str:
    """Return a Material icon by the word in the message's kind."""
    return next((icon for word, icon in ICONS.items() if word in message.kind), ":material/info:")
