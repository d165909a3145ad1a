"""What is too much is refused, and what machines ask often costs the same however much there is in the database.

Every connection here has its role's time limit (3 s, 8 s), so a refusal in words is also one in time.
"""

import uuid
from collections.abc import Callable
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lora_core.store.base import MAX_PAGE
from tests.supabase_sql.stage import hex_of, refused
from tests.supabase_sql.workshop import Workshop, new_token, runner_of
from tests.supastub.rig import Project

# Time limits and rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "seconds"), [("anon", 3), ("authenticated", 8)])
def test_a_question_that_takes_too_long_is_ended(project: Project, role: str, seconds: int) -> None:
    with project.as_role(role) as connection:
        assert connection.execute("show statement_timeout").fetchall() == [
            {"statement_timeout": f"{seconds}s"}
        ]
        connection.execute("set statement_timeout = '100ms'")
        with refused("57014"):
            connection.execute("select pg_sleep(5)")


def test_no_function_lifts_the_time_limit_but_the_one_that_deletes_a_job(project: Project) -> None:
    rows = project.sql(
        "select proname, setting from pg_proc, unnest(proconfig) setting"
        " where pronamespace in ('public'::regnamespace, 'private'::regnamespace, 'file_access'::regnamespace)"
        " and setting like 'statement_timeout=%%'"
    )
    assert [tuple(row.values()) for row in rows] == [("delete_job", "statement_timeout=60s")]


def test_a_page_and_the_row_behind_it_fit_below_the_cap_of_rows() -> None:
    """PostgREST answers 1,000 rows and says nothing of the rest: a list that asks for more would end too early."""
    assert MAX_PAGE + 1 <= 1000


# Much at once -----------------------------------------------------------------------------------------------------------

MEGABYTE = "x" * 1_000_000
DEEP = '{"a":' * 5_000 + "1" + "}" * 5_000
BOTTOMLESS = '{"a":' * 200_000 + "1" + "}" * 200_000


def people_calls(shop: Workshop) -> list[tuple[str, dict[str, Any]]]:
    job, dataset = shop.submit(), shop.add_dataset()
    plain = {"id": str(uuid.uuid4()), "name": "x", "dataset_id": dataset, "config": {}}
    return [
        ("submit_job", {"job": plain | {"name": MEGABYTE}}),
        ("submit_job", {"job": plain | {"target": MEGABYTE}}),
        ("submit_job", {"job": plain | {"dataset_name": MEGABYTE}}),
        ("submit_job", {"job": plain | {"config": {"x": MEGABYTE * 10}}}),
        ("submit_job", {"job": plain | {"config": {"x": list(range(1_000_000))}}}),
        ("rename_job", {"job": job, "name": MEGABYTE}),
        ("move_job", {"job": job, "to": "paused", "reason": MEGABYTE}),
        ("move_job", {"job": job, "to": MEGABYTE}),
        ("request_job", {"job": job, "action": MEGABYTE, "request_id": "r"}),
        ("hand_out_job", {"job": job, "token_sha256": MEGABYTE * 10, "wait_seconds": 60}),
        ("add_task", {"task": {"id": plain["id"], "kind": MEGABYTE, "subject_id": "x"}}),
        ("add_task", {"task": {"id": plain["id"], "kind": "check_dataset", "subject_id": MEGABYTE}}),
        (
            "add_task",
            {
                "task": {
                    "id": plain["id"],
                    "kind": "check_dataset",
                    "subject_id": "x",
                    "arguments": {"x": MEGABYTE},
                }
            },
        ),
        (
            "register_runner",
            {"id": plain["id"], "name": MEGABYTE, "scope": "mine", "token_sha256": hex_of("x")},
        ),
        ("register_runner", {"id": plain["id"], "name": "x", "scope": MEGABYTE, "token_sha256": hex_of("x")}),
        ("import_job", {"job": {"id": plain["id"], "config": {"x": MEGABYTE * 10}}}),
        ("import_points", {"job": job, "rows": [{}] * 100_000}),
        ("import_notifications", {"rows": [{}] * 1001}),
    ]


def test_what_people_send_has_its_measure(shop: Workshop) -> None:
    for function, parameters in people_calls(shop):
        with pytest.raises(psycopg.Error) as caught:
            shop.asked_by(shop.anne, function, **parameters)
        code, told = caught.value.sqlstate or "", str(caught.value)
        assert code in ("PT422", "PT413"), (function, code, told[:200])
        assert len(told) < 2000, (function, "an error does not repeat what was sent")


def test_names_of_metrics_have_their_measure(shop: Workshop) -> None:
    for columns in (["loss"] * 1_000_000, [MEGABYTE] * 10, ["loss", MEGABYTE]):
        with (
            shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne,
            pytest.raises(psycopg.Error) as caught,
        ):
            anne.execute("select public.job_series(%s, 'train', %s)", [shop.submit(), columns])
        assert caught.value.sqlstate in ("PT422", "PT404")
        assert len(str(caught.value)) < 2000


def test_what_machines_send_has_its_measure(shop: Workshop) -> None:
    held = shop.running()
    calls: list[Callable[[], Any]] = [
        lambda: shop.ask("runner_announce", token=shop.token, runner=runner_of(name=MEGABYTE)),
        lambda: shop.ask("runner_announce", token=shop.token, runner=runner_of(gpus=["x"] * 100_000)),
        lambda: shop.ask("runner_announce", token=MEGABYTE * 10, runner=runner_of()),
        lambda: shop.claim(runner_of(roles=["train"] * 1_000_000)),
        lambda: shop.ask(
            "runner_claim", token=shop.token, runner=runner_of(), lease_seconds=1, job_token_sha256=MEGABYTE
        ),
        lambda: held.send({"count": 1001}),
        lambda: held.send({"count": 0, "logs": [{}] * 1001}),
        lambda: held.send({"count": 0, "points": [{}] * 1_000_000}),
        lambda: held.send({"count": 0, "points": MEGABYTE}),
        lambda: held.put(held.artifact(files=[{"name": "a", "bytes": 1, "sha256": "0" * 64}] * 1001)),
        lambda: held.put(held.artifact(name=MEGABYTE)),
    ]  # fmt: skip
    for number, call in enumerate(calls):
        with pytest.raises(psycopg.Error) as caught:
            call()
        assert caught.value.sqlstate in ("PT401", "PT413", "PT422"), (
            number,
            caught.value.sqlstate,
            str(caught.value)[:200],
        )
        assert len(str(caught.value)) < 2000, number


def test_a_thousand_and_one_events_are_refused_before_the_token_is_read(shop: Workshop) -> None:
    with refused("PT413"):
        shop.ask("job_ship", token="lsj_unknown", job=str(uuid.uuid4()), attempt=1, batch={"count": 1001})


@pytest.mark.parametrize("text", [DEEP, BOTTOMLESS], ids=["deep", "bottomless"])
def test_documents_without_a_bottom_do_no_harm(shop: Workshop, text: str) -> None:
    """The database's own reader of JSON gives up; nothing of ours recurses."""
    held = shop.running()
    calls = {
        "select public.runner_announce(%s, %s::jsonb)": [shop.token, text],
        "select public.job_ship(%s, %s, 1, %s::jsonb)": [held.token, held.id, text],
        "select public.job_put_artifact(%s, %s, 1, %s::jsonb)": [held.token, held.id, text],
    }
    for query, values in calls.items():
        with shop.project.as_role("anon") as connection:
            code = None
            try:
                connection.execute(cast(LiteralString, query), values)
            except psycopg.Error as error:
                code = error.sqlstate
            assert code in (None, "54001", "22P02", "PT422")
    assert held.row()["status"] == "running"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("datasets", {"name": MEGABYTE}),
        ("datasets", {"file_name": MEGABYTE}),
        ("datasets", {"storage_path": "{anne}/" + MEGABYTE}),
        ("datasets", {"format": MEGABYTE}),
        ("datasets", {"mapping": {"x": MEGABYTE}}),
        ("datasets", {"report": {"x": MEGABYTE * 3}}),
        ("training_configs", {"name": MEGABYTE}),
        ("training_configs", {"config": {"x": MEGABYTE}}),
        ("notification_routes", {"ciphertext": MEGABYTE}),
        ("notification_routes", {"events": [MEGABYTE]}),
        ("provider_secrets", {"ciphertext": MEGABYTE}),
        ("provider_secrets", {"last_four": "12345"}),
    ],
)
def test_rows_that_people_write_have_their_measure(
    shop: Workshop, table: str, columns: dict[str, Any]
) -> None:
    row_id = str(uuid.uuid4())
    rows = {
        "datasets": {
            "storage_bucket": "lora-datasets",
            "storage_path": f"{shop.anne.id}/x/data",
            "bytes": 1,
            "name": "x",
        },
        "training_configs": {"name": "x", "config": {}},
        "notification_routes": {"name": "x", "ciphertext": "x", "key_id": "x"},
        "provider_secrets": {"provider": "runpod", "ciphertext": "x", "key_id": "x", "last_four": "1234"},
    }
    row = {"id": row_id, "user_id": shop.anne.id, **rows[table], **columns}
    row = {
        name: value.format(anne=shop.anne.id) if name == "storage_path" else value
        for name, value in row.items()
    }
    names = ", ".join(row)
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as anne, refused("23514"):
        anne.execute(
            f"insert into public.{table} ({names}) select {names} from jsonb_populate_record(null::public.{table}, %s)",
            [Jsonb(row)],
        )


# Much in the database ---------------------------------------------------------------------------------------------------

MANY = 20_000
READS = """
select relname as name, seq_scan as scans, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) as rows
from pg_stat_xact_user_tables where schemaname in ('public', 'private', 'storage')
    and relname in ('training_jobs', 'job_attempts', 'job_tokens', 'runner_tokens', 'task_tokens', 'runners', 'tasks',
        'datasets', 'model_artifacts', 'objects', 'metrics_points', 'notifications')
    and (seq_scan > 0 or idx_scan > 0)
"""


def fill(project: Project, owner: str) -> None:
    """Put many jobs, attempts, tokens, tasks and files of one person into the database."""
    statements = [
        """insert into public.datasets (id, user_id, name, storage_bucket, storage_path, bytes)
            select gen_random_uuid(), {owner}, 'x', 'lora-datasets', {owner} || '/x/' || n, 1
            from generate_series(1, {many}) n""",
        """insert into public.training_jobs (id, user_id, name, dataset_id, config, status, attempt, priority, created_at)
            select md5('job' || n)::uuid, {owner}, 'x', gen_random_uuid(), '{{}}',
                case when n % 2 = 0 then 'queued' else 'running' end, 1, 50, '2026-01-01'
            from generate_series(1, {many}) n""",
        """insert into public.job_attempts (job_id, number, user_id, runner_id, lease_until)
            select md5('job' || n)::uuid, 1, {owner}, 'r', now() + interval '1 hour' from generate_series(1, {many}) n""",
        """insert into private.job_tokens (token_sha256, job_id, attempt, expires_at)
            select sha256(n::text::bytea), md5('job' || n)::uuid, 1, now() + interval '1 day'
            from generate_series(1, {many}) n""",
        """insert into public.tasks (id, user_id, kind, subject_id, status)
            select gen_random_uuid(), {owner}, 'check_dataset', n::text, 'waiting' from generate_series(1, {many}) n""",
        """insert into storage.objects (bucket_id, name)
            select 'model-artifacts', {owner} || '/x/' || n from generate_series(1, {many}) n""",
    ]
    with psycopg.connect(project.dsn) as connection:
        connection.execute("set session_replication_role = replica")
        for statement in statements:
            connection.execute(cast(LiteralString, statement.format(owner=f"'{owner}'", many=MANY)))
    project.sql("analyze")


class Bystander:
    """Reads what a call has read, in the call's own transaction, which is then undone."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def reads(self, query: str, values: list[Any]) -> dict[str, tuple[int, int]]:
        """Return scans of whole tables and rows read, by table. The plans are those of a fifth call."""
        for _ in range(5):
            self._reads(query, values)
        return self._reads(query, values)

    def _reads(self, query: str, values: list[Any]) -> dict[str, tuple[int, int]]:
        with self.connection.transaction(force_rollback=True):
            before = self._now()
            try:
                with self.connection.transaction():
                    self.connection.execute(cast(LiteralString, query), values)
            except psycopg.Error as error:
                if (error.sqlstate or "")[:2] != "PT":
                    raise
            after = self._now()
        none = (0, 0)
        return {
            name: (scans - before.get(name, none)[0], rows - before.get(name, none)[1])
            for name, (scans, rows) in after.items()
        }

    def _now(self) -> dict[str, tuple[int, int]]:
        found = self.connection.execute(READS).fetchall()
        return {row["name"]: (row["scans"], int(row["rows"])) for row in found}


def test_what_machines_ask_reads_a_handful_of_rows(shop: Workshop) -> None:
    """Whoever has the publishable key may call these functions: no call may be dear, with a good token or without."""
    ben = shop.project.add_person()
    held, dataset = shop.running(), shop.add_dataset()
    task, task_token = {"id": str(uuid.uuid4()), "kind": "check_dataset", "subject_id": dataset}, new_token()
    artifact = held.put(held.artifact())
    shop.asked_by(shop.anne, "add_task", task=task)
    mine = {"runner": runner_of(), "lease_seconds": 30}
    shop.ask("task_claim", token=shop.token, **mine, task_token_sha256=hex_of(task_token))
    team = shop.register(shop.project.add_person(operator=True), "team")
    shop.submit()
    fill(shop.project, ben.id)
    key = [held.token, held.id]
    runner = Jsonb(runner_of())
    batch = held.batch(
        points=[held.point(n, loss=1.0) for n in range(100)],
        logs=[held.event(level="info", source="x", text="")],
    )
    calls: dict[str, tuple[str, list[Any]]] = {
        "claim, no token": ("runner_claim(%s, %s, 30, %s)", ["lsr_x", runner, hex_of("n")]),
        "claim of the team": ("runner_claim(%s, %s, 30, %s)", [team, runner, hex_of("n")]),
        "claim of mine": ("runner_claim(%s, %s, 30, %s)", [shop.token, runner, hex_of("n")]),
        "claim of a task, mine": ("task_claim(%s, %s, 30, %s)", [shop.token, runner, hex_of("n")]),
        "claim of a task, team": ("task_claim(%s, %s, 30, %s)", [team, runner, hex_of("n")]),
        "announce": ("runner_announce(%s, %s)", [shop.token, runner]),
        "about": ("runner_about(%s)", [shop.token]),
        "renew": ("job_renew(%s, %s, 1, 30)", key),
        "renew, no token": ("job_renew('lsj_x', %s, 1, 30)", [held.id]),
        "take": ("job_take(%s, %s, 30)", [held.token, runner]),
        "ship": ("job_ship(%s, %s, 1, %s)", [*key, Jsonb(batch)]),
        "ship, no token": ("job_ship('lsj_x', %s, 1, %s)", [held.id, Jsonb(batch)]),
        "data set": ("job_dataset(%s, %s, 1, %s)", [*key, held.claim["dataset"]["id"]]),
        "artifact": ("job_artifact(%s, %s, 1, %s)", [*key, artifact["id"]]),
        "put": ("job_put_artifact(%s, %s, 1, %s)", [*key, Jsonb(held.artifact())]),
        "drop": ("job_drop_artifact(%s, %s, 1, %s)", [*key, artifact["id"]]),
        "end": ("job_end(%s, %s, 1, %s)", [*key, Jsonb({"outcome": "completed"})]),
        "task progress": ("task_progress(%s, %s, 0.5, '', 30)", [task_token, task["id"]]),
        "task end": ("task_end(%s, %s, '')", [task_token, task["id"]]),
        "task data set": ("task_dataset(%s, %s)", [task_token, task["id"]]),
    }
    with shop.project.as_role("anon") as connection:
        bystander = Bystander(connection)
        dear = {}
        for name, (call, values) in calls.items():
            reads = bystander.reads(f"select public.{call}", values)
            # Small tables may be scanned: reading them is what an index costs too.
            read = {table: rows for table, (_, rows) in reads.items() if rows > 300}
            if read:
                dear[name] = read
        assert dear == {}


@pytest.mark.parametrize("whose", ["job", "task", "nobody"])
def test_a_file_is_found_by_its_name_and_not_among_all(shop: Workshop, whose: str) -> None:
    """As the storage service asks for one object; the policies' functions look up the token and no more."""
    held = shop.running()
    fill(shop.project, shop.project.add_person().id)
    token = {"job": held.token, "task": "lst_x", "nobody": ""}[whose]
    key = held.claim["dataset"]["storage_path"]
    with shop.project.as_role("anon", headers={"x-job-token": token}) as connection:
        reads = Bystander(connection).reads(
            "select 1 from storage.objects where bucket_id = 'lora-datasets' and name = %s", [key]
        )
        assert {table: rows for table, (_, rows) in reads.items() if rows > 50} == {}


def test_the_storage_limit_is_reckoned_from_ones_own_files(shop: Workshop) -> None:
    fill(shop.project, shop.project.add_person().id)
    shop.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 1000000)", shop.anne.id)
    with shop.project.as_role("authenticated", {"sub": shop.anne.id}) as connection:
        query = "insert into storage.objects (bucket_id, name) values ('lora-datasets', %s)"
        reads = Bystander(connection).reads(query, [f"{shop.anne.id}/new"])
        assert {table: rows for table, (_, rows) in reads.items() if rows > 50} == {}
