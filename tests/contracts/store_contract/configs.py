"""What every store of saved configs must do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lora_core.errors import Conflict, Forbidden, NotAllowed, NotFound
from lora_core.schema.config import AdapterConfig, TrainingConfig
from tests.contracts.samples import ANNE, BEN, START, Studio, config_of
from tests.contracts.store_contract.stage import StoreContract, walk


class ConfigStoreContract(StoreContract):
    def test_a_config_comes_back_as_it_was_put(self, studio: Studio) -> None:
        saved = config_of(ANNE, "Größe (1, “two”)", draft=True)
        studio.anne.configs.put(saved)
        assert studio.anne.configs.get(saved.id) == saved
        assert studio.anne.configs.named(saved.name) == saved

    def test_putting_one_again_writes_it_back(self, studio: Studio) -> None:
        saved = config_of(ANNE)
        studio.anne.configs.put(saved)
        changed = saved.model_copy(
            update={
                "name": "Other",
                "config": TrainingConfig(adapter=AdapterConfig(rank=4)),
                "updated_at": START + timedelta(hours=1),
            }
        )
        for _ in range(2):  # the first answer may have been lost
            studio.anne.configs.put(changed)
        assert list(studio.anne.configs.list().items) == [changed]

    def test_a_name_is_there_once_for_each_person(self, studio: Studio) -> None:
        first, second = config_of(ANNE, "mine"), config_of(ANNE, "other")
        studio.anne.configs.put(first)
        studio.anne.configs.put(second)
        studio.ben.configs.put(config_of(BEN, "mine"))
        with pytest.raises(Conflict):
            studio.anne.configs.put(config_of(ANNE, "mine"))
        with pytest.raises(Conflict):
            studio.anne.configs.rename(second.id, "mine")
        assert studio.anne.configs.get(second.id).name == "other"

    def test_renaming_changes_nothing_but_the_name(self, studio: Studio) -> None:
        saved = config_of(ANNE)
        studio.anne.configs.put(saved)
        renamed = studio.anne.configs.rename(saved.id, "Better")
        assert renamed == studio.anne.configs.get(saved.id) == saved.model_copy(update={"name": "Better"})
        assert studio.anne.configs.named(saved.name) is None

    def test_a_deleted_config_is_gone_and_its_name_free(self, studio: Studio) -> None:
        saved = config_of(ANNE)
        studio.anne.configs.put(saved)
        studio.anne.configs.delete(saved.id)
        with pytest.raises(NotFound):
            studio.anne.configs.get(saved.id)
        studio.anne.configs.put(config_of(ANNE))

    def test_the_last_changed_comes_first_and_all_come_over_pages(self, studio: Studio) -> None:
        for number, hour in enumerate((1, 3, 2, 2)):
            studio.anne.configs.put(
                config_of(ANNE, f"number {number}", updated_at=START + timedelta(hours=hour))
            )
        listed = walk(lambda cursor: studio.anne.configs.list(limit=2, cursor=cursor))
        assert [saved.updated_at.hour - START.hour for saved in listed] == [3, 2, 2, 1]
        assert len({saved.id for saved in listed}) == 4

    @pytest.mark.parametrize("cursor", ["", "x", "WyJqb2JzIiwgMV0"])
    def test_a_made_up_cursor_is_not_found(self, studio: Studio, cursor: str) -> None:
        with pytest.raises(NotFound):
            studio.anne.configs.list(cursor=cursor)

    def test_another_persons_config_is_not_found(self, studio: Studio) -> None:
        saved = config_of(ANNE)
        studio.anne.configs.put(saved)
        for call in (
            lambda: studio.ben.configs.get(saved.id),
            lambda: studio.ben.configs.rename(saved.id, "x"),
            lambda: studio.ben.configs.delete(saved.id),
        ):
            with pytest.raises(NotFound):
                call()
        with pytest.raises(Forbidden):
            studio.ben.configs.put(saved)
        with pytest.raises(Conflict):
            studio.ben.configs.put(config_of(BEN, id=saved.id))
        assert not studio.ben.configs.list().items
        assert studio.anne.configs.get(saved.id) == saved

    def test_a_config_that_could_not_be_read_is_not_written(self, studio: Studio) -> None:
        with pytest.raises(NotAllowed):
            studio.anne.configs.put(config_of(ANNE, config=None, fault="x is not a field."))
        assert not studio.anne.configs.list().items
