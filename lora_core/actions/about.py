"""What a person may know of the studio they are in: its mode, version and where it keeps things."""

import platform
from dataclasses import dataclass

from lora_core import __version__
from lora_core.actions.workspace import Workspace


@dataclass(frozen=True)
class StudioFacts:
    """One look at the studio itself.

    Attributes:
        home: Folder of the embedded studio; empty in a team, where it is the server's business.
        project: Address of the team's project; empty without one.
    """

    team: bool
    version: str
    python: str
    home: str = ""
    project: str = ""


def describe_studio(workspace: Workspace) -> StudioFacts:
    """Return mode, versions and places."""
    settings = workspace.settings
    return StudioFacts(
        team=settings.team,
        version=__version__,
        python=platform.python_version(),
        home="" if settings.team else str(settings.root),
        project=settings.supabase_url,
    )
