"""Configs in a project that this version cannot read: the list says why, and the rest goes on."""

from lora_core.store.supabase.store import SupabaseUserStore
from tests.contracts.samples import ANNE, config_of
from tests.supastub.rig import Project


def test_a_config_of_another_version_is_listed_with_the_reason(
    project: Project, anne: SupabaseUserStore
) -> None:
    old, good = config_of(ANNE, "old"), config_of(ANNE, "good")
    for saved in (old, good):
        anne.configs.put(saved)
    project.sql(f"update public.training_configs set config = '{{\"adaptor\": 1}}' where id = '{old.id}'")
    listed = {saved.name: saved for saved in anne.configs.list().items}
    assert listed["good"] == good
    assert listed["old"].config is None
    assert listed["old"].fault.startswith("adaptor is not a field")
    assert anne.configs.rename(old.id, "older").fault == listed["old"].fault
    anne.configs.delete(old.id)
    assert [saved.name for saved in anne.configs.list().items] == ["good"]
