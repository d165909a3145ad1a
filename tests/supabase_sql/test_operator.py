"""What only the operator may do, and how a new person is let in."""

import json
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from lora_core.schema.base import new_id
from lora_core.schema.people import Invitation, PersonTotals, Quota
from tests.supabase_sql.stage import Asker, Row, add_artifact, add_attempt, call, hex_of, race, refused
from tests.supastub.rig import Project

CLOSED = "This studio is by invitation."


def invite(asker: Asker, **changes: Any) -> str:
    """Invite carla@studio.test with the code 'c'; returns the invitation's id."""
    asked = {
        "p_id": new_id(),
        "p_email": "carla@studio.test",
        "p_code_sha256": hex_of("c"),
        "p_valid_days": 7,
    } | changes
    asker.call("operator_invite", **asked)
    return str(asked["p_id"])


def sign_up(
    project: Project, email: str | None = "carla@studio.test", *, code: str | None = "c", **more: Any
) -> Row:
    """Insert a person as the Auth service does; returns the stored row."""
    metadata = more | ({"invitation": code} if code is not None else {})
    with psycopg.connect(project.dsn, autocommit=True) as connection:
        connection.execute("set role supabase_auth_admin")
        connection.execute(
            "insert into auth.users (id, email, raw_user_meta_data, created_at) values (%s, %s, %s, now())",
            (new_id(), email, Jsonb(metadata)),
        )
    return project.sql("select * from auth.users where email is not distinct from %s", email)[0]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        ("operator_totals", {}),
        ("operator_set_quota", {"p_quota": {}}),
        ("operator_invitations", {}),
        (
            "operator_invite",
            {"p_id": new_id(), "p_email": "a@b.c", "p_code_sha256": hex_of("c"), "p_valid_days": 7},
        ),
        ("operator_withdraw", {"p_id": new_id()}),
        ("operator_sign_up_is_open", {}),
        ("operator_open_sign_up", {"p_open": True}),
    ],
)
def test_a_person_who_is_not_the_operator_is_refused(
    anne: Asker, project: Project, function: str, parameters: dict[str, Any]
) -> None:
    with refused("PT403", "Only the operator of this studio may do that."):
        anne.call(function, **parameters)
    with project.as_role("authenticated") as nobody, refused("PT401"):
        call(nobody, function, **parameters)
    with project.as_role("anon") as nobody, refused("42501"):
        call(nobody, function, **parameters)


def test_a_claim_in_the_token_makes_no_operator(anne: Asker, project: Project) -> None:
    claims = {"sub": anne.id, "app_metadata": {"role": "operator"}, "user_metadata": {"role": "operator"}}
    with project.as_role("authenticated", claims) as forged, refused("PT403"):
        call(forged, "operator_totals")


class TestTotals:
    def totals(self, operator: Asker) -> list[PersonTotals]:
        return [PersonTotals.model_validate(person) for person in operator.call("operator_totals")]

    def test_everybody_is_listed_by_e_mail(self, operator: Asker, ben: Asker, anne: Asker) -> None:
        assert [(person.email, person.operator) for person in self.totals(operator)] == [
            ("anne@studio.test", False),
            ("ben@studio.test", False),
            ("olga@studio.test", True),
        ]

    def test_who_has_done_nothing_has_zeros(self, operator: Asker) -> None:
        person = self.totals(operator)[0]
        assert (
            person.live_jobs,
            person.jobs,
            person.gpu_hours,
            person.storage_bytes,
            person.usd,
            person.quota,
        ) == (
            0,
            0,
            0,
            0,
            0,
            None,
        )

    def test_each_persons_use_is_summed(
        self, operator: Asker, anne: Asker, ben: Asker, project: Project
    ) -> None:
        job = anne.submit(gpus=2, dataset_id=anne.add_dataset(bytes=1000))
        anne.call("move_job", p_job=anne.submit(dataset_id=job["dataset_id"])["id"], p_to="cancelled")
        add_artifact(project, job, bytes=234)
        add_attempt(project, job, seconds=1.8)
        for at in ("now()", "now()", "now() - interval '32 days'"):
            project.sql(
                "insert into public.cost_records (user_id, job_id, attempt, kind, usd, at)"
                f" values (%s, %s, 1, 'gpu', 0.25, {at})",
                anne.id,
                job["id"],
            )
        person = self.totals(operator)[0]
        assert (person.user_id, person.live_jobs, person.jobs, person.storage_bytes, person.usd) == (
            anne.id,
            1,
            2,
            1234,
            0.5,
        )
        assert person.gpu_hours == pytest.approx(0.001)
        assert self.totals(operator)[1].storage_bytes == 0

    def test_no_name_of_anything_is_told(self, operator: Asker, anne: Asker, project: Project) -> None:
        job = anne.submit(
            name="secret job", dataset_id=anne.add_dataset(name="secret set", file_name="secret file")
        )
        add_artifact(project, job)
        told = json.dumps(operator.call("operator_totals"))
        assert "secret" not in told
        assert job["id"] not in told

    def test_the_operator_reads_no_content_of_others(self, operator: Asker, anne: Asker) -> None:
        job = anne.submit()
        for table in ("datasets", "training_jobs", "job_events", "quotas"):
            assert operator.rows(f"select * from public.{table}") == []
        with refused("PT404"):
            operator.call("move_job", p_job=job["id"], p_to="cancelled")


class TestQuotas:
    def test_a_quota_is_set_and_changed(self, operator: Asker, anne: Asker) -> None:
        first = Quota(
            user_id=anne.id, max_live_jobs=2, gpu_hours_per_month=1.5, storage_bytes=10**12, usd_per_month=0
        )
        for quota in (first, Quota(user_id=anne.id, max_live_jobs=3)):
            operator.call("operator_set_quota", p_quota=quota.model_dump())
            assert PersonTotals.model_validate(operator.call("operator_totals")[0]).quota == quota

    def test_a_person_reads_their_own_quota_and_cannot_change_it(self, operator: Asker, anne: Asker) -> None:
        operator.call("operator_set_quota", p_quota={"user_id": anne.id, "max_live_jobs": 2})
        assert anne.rows("select max_live_jobs from public.quotas") == [{"max_live_jobs": 2}]
        with refused("42501"):
            anne.rows("update public.quotas set max_live_jobs = null")

    @pytest.mark.parametrize(
        "limit", ["max_live_jobs", "running_jobs", "gpu_hours_per_month", "storage_bytes", "usd_per_month"]
    )
    def test_a_limit_below_0_is_refused(self, operator: Asker, anne: Asker, limit: str) -> None:
        with refused("PT422", "A limit is not below 0."):
            operator.call("operator_set_quota", p_quota={"user_id": anne.id, limit: -1})

    @pytest.mark.parametrize("user_id", ["00000000-0000-4000-8000-00000000000f", None])
    def test_a_person_who_is_not_there_is_not_found(self, operator: Asker, user_id: str | None) -> None:
        with refused("PT404", "There is no such person (any more)."):
            operator.call("operator_set_quota", p_quota={"user_id": user_id})


class TestInvitations:
    def listed(self, operator: Asker) -> list[Invitation]:
        return [Invitation.model_validate(row) for row in operator.call("operator_invitations")]

    def test_an_invitation_is_listed_without_its_code(self, operator: Asker) -> None:
        invitation_id = invite(operator, p_email=" Carla@Studio.test ")
        (invitation,) = self.listed(operator)
        assert (invitation.id, invitation.email, invitation.accepted_at) == (
            invitation_id,
            "carla@studio.test",
            None,
        )
        assert (invitation.expires_at - invitation.created_at).days == 7

    def test_the_newest_comes_first(self, operator: Asker, project: Project) -> None:
        older = invite(operator)
        project.pass_time(60)
        newer = invite(operator, p_code_sha256=hex_of("d"))
        assert [invitation.id for invitation in self.listed(operator)] == [newer, older]

    def test_the_same_invitation_again_changes_nothing(self, operator: Asker) -> None:
        invitation_id = invite(operator)
        invite(operator, p_id=invitation_id)
        assert len(self.listed(operator)) == 1

    @pytest.mark.parametrize(
        "changes", [{"p_email": "dora@studio.test"}, {"p_code_sha256": hex_of("d")}], ids=str
    )
    def test_another_invitation_of_the_same_id_is_a_conflict(
        self, operator: Asker, changes: dict[str, str]
    ) -> None:
        invitation_id = invite(operator)
        with refused("PT409", "There is another invitation with this id or code."):
            invite(operator, p_id=invitation_id, **changes)

    def test_a_code_serves_one_invitation(self, operator: Asker) -> None:
        invite(operator)
        with refused("PT409", "There is another invitation with this id or code."):
            invite(operator)

    def test_who_is_here_already_is_not_invited(self, operator: Asker, anne: Asker) -> None:
        with refused("PT409", "A person with this e-mail address is here already."):
            invite(operator, p_email=anne.email.upper())

    @pytest.mark.parametrize(
        "email",
        ["", None, "carla", "@b.c", "a@b", "a@b.", "a b@c.d", "a@b@c.d", "a@b.c\n", "a@" + "b" * 260 + ".c"],
    )
    def test_what_is_no_address_is_refused(self, operator: Asker, email: str | None) -> None:
        with refused("PT422", "That is no e-mail address."):
            invite(operator, p_email=email)

    @pytest.mark.parametrize("days", [0, -1, 91, None])
    def test_the_days_have_their_limits(self, operator: Asker, days: int | None) -> None:
        with refused("PT422", "An invitation is valid for 1 to 90 days."):
            invite(operator, p_valid_days=days)

    def test_a_code_is_told_as_sha256(self, operator: Asker) -> None:
        with refused("PT422", "64 hexadecimal digits"):
            invite(operator, p_code_sha256="c")

    def test_an_open_invitation_can_be_withdrawn(self, operator: Asker, project: Project) -> None:
        invitation_id = invite(operator)
        for _ in range(2):
            operator.call("operator_withdraw", p_id=invitation_id)
        assert self.listed(operator) == []
        with refused("PT403", CLOSED):
            sign_up(project)

    def test_an_accepted_invitation_stays(self, operator: Asker, project: Project) -> None:
        invitation_id = invite(operator)
        sign_up(project)
        operator.call("operator_withdraw", p_id=invitation_id)
        assert [invitation.accepted_at is not None for invitation in self.listed(operator)] == [True]

    def test_the_set_up_script_invites_with_the_secret_key_alone(self, anne: Asker, project: Project) -> None:
        asked = {
            "p_id": new_id(),
            "p_email": "carla@studio.test",
            "p_code_sha256": hex_of("c"),
            "p_valid_days": 1,
        }
        for role in ("anon", "authenticated"):
            with project.as_role(role, {"sub": anne.id}) as connection, refused("42501"):
                call(connection, "setup_invite", **asked)
        with project.as_role("service_role") as connection:
            call(connection, "setup_invite", **asked)
        assert sign_up(project)["email"] == "carla@studio.test"


class TestTheDoor:
    def test_it_is_closed_at_first(self, operator: Asker, project: Project) -> None:
        assert operator.call("operator_sign_up_is_open") is False
        with refused("PT403", f"{CLOSED}\nAsk its operator for an invitation."):
            sign_up(project, code=None)

    def test_the_sign_in_page_may_ask(self, project: Project) -> None:
        with project.as_role("anon") as connection:
            assert call(connection, "sign_up_is_open") is False

    def test_once_open_anybody_comes_in_until_it_is_closed(self, operator: Asker, project: Project) -> None:
        operator.call("operator_open_sign_up", p_open=True)
        assert operator.call("operator_sign_up_is_open") is True
        sign_up(project, code=None)
        sign_up(project, "dora@studio.test", code="wrong")
        operator.call("operator_open_sign_up", p_open=False)
        with refused("PT403", CLOSED):
            sign_up(project, "eva@studio.test", code=None)

    @pytest.mark.parametrize("email", ["carla@studio.test", "CARLA@studio.test"])
    def test_an_invited_person_comes_in(self, operator: Asker, project: Project, email: str) -> None:
        invite(operator)
        sign_up(project, email)
        assert operator.call("operator_invitations")[0]["accepted_at"] is not None

    def test_the_code_is_not_kept(self, operator: Asker, project: Project) -> None:
        invite(operator)
        assert sign_up(project, name="Carla")["raw_user_meta_data"] == {"name": "Carla"}

    def test_a_code_of_any_letters_is_compared_by_its_utf_8(self, operator: Asker, project: Project) -> None:
        invite(operator, p_code_sha256=sha256("größe".encode()).hexdigest())
        sign_up(project, code="größe")

    @pytest.mark.parametrize(
        ("email", "code"),
        [
            ("carla@studio.test", "d"),
            ("carla@studio.test", None),
            ("carla@studio.test", ""),
            ("dora@studio.test", "c"),
            (None, "c"),
        ],
    )
    def test_another_address_or_code_is_refused(
        self, operator: Asker, project: Project, email: str | None, code: str | None
    ) -> None:
        invite(operator)
        with refused("PT403", CLOSED):
            sign_up(project, email, code=code)

    def test_an_invitation_ends(self, operator: Asker, project: Project) -> None:
        invite(operator)
        project.pass_time(7 * 86400 + 1)
        with refused("PT403", CLOSED):
            sign_up(project)

    def test_an_invitation_counts_once(self, operator: Asker, project: Project) -> None:
        invite(operator)
        sign_up(project)
        project.sql("delete from auth.users where email = 'carla@studio.test'")
        with refused("PT403", CLOSED):
            sign_up(project)

    def test_two_at_the_same_time_do_not_both_come_in(self, operator: Asker, project: Project) -> None:
        invite(operator)
        insert = (
            "insert into auth.users (id, email, raw_user_meta_data, is_sso_user) values (%s, %s, %s, true)"
        )

        def come(connection: psycopg.Connection[Any]) -> None:
            connection.execute(insert, (new_id(), "carla@studio.test", Jsonb({"invitation": "c"})))

        with (
            psycopg.connect(project.dsn, autocommit=True) as first,
            psycopg.connect(project.dsn, autocommit=True) as second,
        ):
            _, refusal = race(project, first, lambda: come(first), second, lambda: come(second))
        assert CLOSED in str(refusal)

    def test_who_is_refused_uses_nothing_up(self, operator: Asker, project: Project) -> None:
        invite(operator)
        with refused("PT403", CLOSED):
            sign_up(project, code="wrong")
        sign_up(project)
