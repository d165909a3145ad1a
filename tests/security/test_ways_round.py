"""Statements past the functions, for every kind of caller. Over HTTP nobody can even send them; the database refuses them too."""

import pytest

from tests.security.world import PEOPLE, World


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.job_events (job_id, user_id, actor, action) values ('{job}', '{anne}', 'system', 'completed')",
        "insert into public.cost_records (user_id, job_id, attempt, kind, usd) values ('{anne}', '{job}', 1, 'x', -100)",
        "update public.training_jobs set status = 'completed'",
        "update public.training_jobs set imported = true",
        "update public.training_jobs set cost_usd = 0",
        "update public.runner_registrations set scope = 'team'",
        "update public.runners set scope = 'team'",
        "update public.quotas set storage_bytes = null",
        "update public.datasets set user_id = '{ben}'",
        "alter table public.training_jobs disable trigger all",
        "set session_replication_role = replica",
        "set role service_role",
        "set role postgres",
        "select private.set_status(j, 'completed', 'x', 'x', '', '') from public.training_jobs j",
        "select private.is_operator()",
        "select file_access.readable_files()",
        "select file_access.has_room()",
        "create function public.mine() returns int language sql as 'select 1'",
        "create table public.mine (a int)",
        "copy public.training_jobs to stdout",
    ],
)
def test_there_is_no_way_past_the_functions(world: World, statement: str) -> None:
    query = statement.format(anne=world.anne.id, ben=world.ben.id, job=world.job.job)
    if statement.startswith("set role"):
        for caller in world.callers.values():
            # The role of a request belongs to the API's own account, which cannot become more than its three roles.
            can = "select pg_has_role('authenticator', %s, 'member') as can"
            expected = statement.endswith("service_role")
            assert world.project.sql(can, statement.split()[-1]) == [{"can": expected}], caller.name
        return
    for name, caller in world.callers.items():
        if "file_access" in statement and name not in PEOPLE:
            continue  # anon may call these: they say what its own token opens
        if statement.startswith("copy") and name in PEOPLE:
            continue  # row-level security holds for it as for select
        assert caller.outcome(query) == "refused", (name, statement)
