"""What the owner of a studio does for a bad day, through the actions."""

from pathlib import Path

import pytest

from lora_core.actions.backup import back_up_studio, check_studio_backup, restore_studio
from lora_core.actions.workspace import Workspace
from lora_core.errors import Conflict, NotFound
from lora_core.settings import Settings
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import claimed, submitted


def test_a_studio_in_use_is_backed_up_and_restored_elsewhere(
    studio: Studio, workspace: Workspace, tmp_path: Path
) -> None:
    job = submitted(workspace, name="long")
    claimed(studio)
    report = back_up_studio(studio.settings, tmp_path / "backup")
    assert (report.datasets, report.jobs) == (1, 1)
    other = Settings(home=tmp_path / "other")
    assert restore_studio(other, tmp_path / "backup").ended == ("long",)
    restored = Studio(other)
    assert restored.workspace().jobs.get(job.id).name == "long"
    restored.close()


def test_a_backup_may_lie_in_the_home_but_not_be_it(studio: Studio) -> None:
    back_up_studio(studio.settings, studio.settings.root / "backups" / "monday")
    for folder in (studio.settings.root, studio.settings.files / "backup"):
        with pytest.raises(Conflict, match="own folder"):
            back_up_studio(studio.settings, folder)


def test_a_home_without_a_studio_is_not_made_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "none")
    with pytest.raises(NotFound, match="There is no studio"):
        back_up_studio(settings, tmp_path / "backup")
    assert not settings.root.exists()


def test_a_backup_is_checked_without_a_studio(studio: Studio, tmp_path: Path) -> None:
    back_up_studio(studio.settings, tmp_path / "backup")
    told: list[tuple[int, int]] = []
    found = check_studio_backup(tmp_path / "backup", lambda done, total: told.append((done, total)))
    assert (found.ending.files, told[-1][0]) == (1, told[-1][1])


def test_the_studio_in_use_is_not_replaced_by_its_own_process(studio: Studio, tmp_path: Path) -> None:
    back_up_studio(studio.settings, tmp_path / "backup")
    with pytest.raises(Conflict, match="in use"):
        restore_studio(studio.settings, tmp_path / "backup", replace=True)
