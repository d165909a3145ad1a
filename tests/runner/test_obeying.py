"""Wishes on a full disk: none is forgotten, and what has to end ends."""

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_core.schema.job import RequestedAction
from lora_core.schema.runner import Directive
from runner.journal import Journal
from runner.obeying import Wishes
from runner.run_folder import RunFolder
from tests.runner.agent.bench import Machine


class Rig:
    """Wishes over a disk that is full until it is not."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.machine = Machine()
        self.folder = RunFolder(root)
        self.wishes = Wishes(self.folder, Journal(self.folder), self.machine.clocks.awake)
        self.full = True
        self.signals: list[str] = []
        self.child: Any = SimpleNamespace(terminate=lambda: self.signals.append("terminate"))
        write = self.folder.write_request

        def written(request: Any) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(request)

        monkeypatch.setattr(self.folder, "write_request", written)


def test_a_pause_that_could_not_be_passed_on_is_news_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, monkeypatch)
    pause = Directive(requested_action=RequestedAction.PAUSE, request_id="one")
    assert rig.wishes.hear(pause)
    with pytest.raises(OSError, match="No space"):
        rig.wishes.pass_on(rig.child)
    rig.full = False
    assert rig.wishes.hear(pause)
    rig.wishes.pass_on(rig.child)
    request = rig.folder.read_request()
    assert request is not None
    assert (request.id, request.action) == ("one", "pause")
    assert not rig.wishes.hear(pause)


def test_a_trainer_that_cannot_be_told_of_its_cancellation_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, monkeypatch)
    cancel = Directive(requested_action=RequestedAction.CANCEL, request_id="one")
    assert rig.wishes.hear(cancel)
    with pytest.raises(OSError, match="No space"):
        rig.wishes.pass_on(rig.child)
    assert rig.signals == ["terminate"]
    assert not rig.wishes.hear(cancel), "its time does not begin anew"
    rig.machine.wait(2)
    assert rig.wishes.is_overdue()


def test_a_trainer_that_cannot_be_asked_to_save_is_overdue_after_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, monkeypatch)
    with pytest.raises(OSError, match="No space"):
        rig.wishes.release(30)
    rig.machine.wait(31)
    assert rig.wishes.is_overdue()


@pytest.mark.parametrize(
    ("action", "none"),
    [(RequestedAction.CHECKPOINT, True), (RequestedAction.PAUSE, False), (RequestedAction.CANCEL, False)],
)
def test_a_checkpoint_asked_for_once_does_not_keep_a_trainer_from_a_new_start(
    action: RequestedAction, none: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, monkeypatch)
    assert rig.wishes.none
    rig.wishes.hear(Directive(requested_action=action, request_id="one"))
    assert rig.wishes.none is none
