"""The one studio of this process, opened once and shared by pages and routes."""

from functools import cache

from lora_core.actions.workspace import Workspace
from lora_core.studio import Studio


@cache
def open_studio() -> Studio:
    """Open the studio of LORA_STUDIO_HOME at the first call; later calls return the same one."""
    return Studio()


def open_workspace() -> Workspace:
    """Return the view of the person at this browser. The embedded mode has one person and no sign-in."""
    return open_studio().workspace()
