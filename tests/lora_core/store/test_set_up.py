"""The operator's set-up of a project, and what a project tells about itself."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import ConfigError, NotAllowed, NotFound, SignedOut, Unavailable
from lora_core.secrets import Secret
from lora_core.store.supabase.about import SCHEMA_VERSION, RunnerAbout, check_version
from lora_core.store.supabase.about import Project as Asked
from lora_core.store.supabase.auth import SupabaseAuth
from lora_core.store.supabase.set_up import LEAST_PASSWORD, SetUp, read_secret_key, set_up_team
from tests.contracts.team import Team
from tests.supastub.rig import Project

MIGRATIONS = Path(__file__).parents[3] / "supabase" / "migrations"
PASSWORD = "correct horse"


def no_password() -> Secret:
    raise AssertionError("nobody is to be asked")


def set_up(project: Project, email: str = "ada@example.org", password: str = PASSWORD) -> SetUp:
    return set_up_team(project.url, Secret(project.secret_key), email, lambda: Secret(password))


class TestSetUp:
    def test_the_first_account_is_the_operators(self, project: Project) -> None:
        done = set_up(project)
        assert (done.created, done.promoted, done.version) == (True, True, SCHEMA_VERSION)
        accounts = SupabaseAuth(project.url, project.publishable_key)
        session = accounts.sign_in("ada@example.org", PASSWORD)
        assert (session.user_id, session.operator) == (done.operator_id, True)
        accounts.close()

    def test_repeating_it_changes_nothing_and_asks_nothing(self, project: Project) -> None:
        first = set_up(project)
        before = project.sql("select * from auth.users")
        again = set_up_team(project.url, Secret(project.secret_key), "ada@example.org", no_password)
        assert (again.created, again.promoted, again.operator_id) == (False, False, first.operator_id)
        assert project.sql("select * from auth.users") == before

    def test_an_account_that_exists_becomes_the_operators_and_keeps_its_password(
        self, project: Project
    ) -> None:
        person = project.add_person(email="bob@example.org")
        done = set_up_team(project.url, Secret(project.secret_key), "bob@example.org", no_password)
        assert (done.created, done.promoted, done.operator_id) == (False, True, person.id)
        accounts = SupabaseAuth(project.url, project.publishable_key)
        assert accounts.sign_in("bob@example.org", person.password).operator
        accounts.close()

    def test_an_account_is_found_behind_many_others(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lora_core.store.supabase.set_up.PAGE_PEOPLE", 2)
        people = [project.add_person(email=f"p{number}@example.org") for number in range(5)]
        for person in people:
            done = set_up_team(project.url, Secret(project.secret_key), person.email, no_password)
            assert done.operator_id == person.id

    def test_the_code_of_its_own_invitation_is_used_up_and_not_kept(self, project: Project) -> None:
        set_up(project)
        (row,) = project.sql("select accepted_at from private.invitations")
        assert row["accepted_at"] is not None
        (user,) = project.sql("select raw_user_meta_data from auth.users")
        assert "invitation" not in (user["raw_user_meta_data"] or {})

    @pytest.mark.parametrize("password", ["", "short", "x" * 73, "ü" * 40])
    def test_a_password_out_of_bounds_makes_nothing(self, project: Project, password: str) -> None:
        with pytest.raises(NotAllowed, match="password"):
            set_up(project, password=password)
        assert not project.sql("select id from auth.users")
        assert not project.sql("select id from private.invitations")

    def test_a_project_without_the_studios_tables_is_told_from_a_broken_one(self, project: Project) -> None:
        project.sql("drop function public.studio_about()")
        project.reload_schema()
        with pytest.raises(NotFound, match="supabase db push"):
            set_up(project)

    def test_another_version_of_the_tables_is_refused(self, project: Project) -> None:
        project.sql(
            "create or replace function public.studio_about() returns jsonb language sql as "
            '$$ select \'{"version": "20200101000000", "now": "2026-01-01T00:00:00Z", "max_object_bytes": {}}\'::jsonb $$'
        )
        with pytest.raises(ConfigError, match="at version 20200101000000"):
            set_up(project)
        assert not project.sql("select id from auth.users")

    def test_the_key_of_another_project_is_refused(self, project: Project) -> None:
        with pytest.raises(SignedOut, match="not one of this project's"):
            set_up_team(project.url, Secret("sb_secret_of_another"), "ada@example.org", no_password)

    def test_the_publishable_key_sets_nothing_up(self, project: Project) -> None:
        with pytest.raises(Exception, match="may not"):
            set_up_team(project.url, Secret(project.publishable_key), "ada@example.org", no_password)
        assert not project.sql("select id from auth.users")

    def test_a_project_that_is_away_is_said(self, project: Project) -> None:
        project.stop_gateway()
        try:
            with pytest.raises(Unavailable):
                set_up(project)
        finally:
            project.start_gateway()


class TestSecretKey:
    def test_it_comes_from_the_environment(self) -> None:
        assert read_secret_key({"SUPABASE_SECRET_KEY": " sb_secret_x "}).reveal() == "sb_secret_x"

    def test_a_missing_one_is_asked_for(self) -> None:
        with pytest.raises(ConfigError, match="needs SUPABASE_SECRET_KEY"):
            read_secret_key({})

    def test_another_kind_of_key_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="holds a publishable key"):
            read_secret_key({"SUPABASE_SECRET_KEY": "sb_publishable_x"})


class TestAbout:
    def test_the_version_is_that_of_the_newest_migration(self, project: Project) -> None:
        newest = max(path.name.split("_")[0] for path in MIGRATIONS.glob("*.sql"))
        assert newest == SCHEMA_VERSION, "the newest migration replaces studio_about, and about.py follows"
        asked = Asked(project.url, project.publishable_key)
        about = asked.about()
        asked.close()
        assert about.version == SCHEMA_VERSION
        assert abs(about.ahead_seconds) < 5
        assert set(about.max_object_bytes) == {"lora-datasets", "training-files", "model-artifacts"}

    def test_a_newer_database_asks_for_a_newer_studio(self) -> None:
        check_version(SCHEMA_VERSION)
        with pytest.raises(ConfigError, match="Update the studio"):
            check_version("20991231000000")

    def test_a_runner_token_is_looked_up_and_nothing_changes(self, project: Project, tmp_path: Path) -> None:
        person = project.add_person()
        team = Team(project.url, project.publishable_key, lambda _id: person.token, tmp_path)
        registration_id, token = team.register(person.id)
        asked = Asked(project.url, project.publishable_key)
        assert asked.runner(token.reveal()) == RunnerAbout(registration_id, "Workshop", "mine")
        assert not project.sql("select id from public.runners")
        team.store_for(person.id).registry.revoke(registration_id)
        for wrong in (token.reveal(), "", "x" * 100_000, "lsr_'; drop table x"):
            with pytest.raises(SignedOut, match="not valid"):
                asked.runner(wrong)
        team.close()
        asked.close()

    def test_only_the_holder_of_a_token_learns_what_it_is(self, project: Project) -> None:
        with (
            project.as_role("authenticated") as connection,
            pytest.raises(Exception, match="permission denied"),
        ):
            connection.execute("select public.runner_about('x')")

    def test_an_address_that_is_no_project_is_said(self) -> None:
        with pytest.raises(Exception, match=r"[Aa]ddress|reached"):
            Asked("http://[nonsense", "sb_publishable_x").about()


class TestConfig:
    """supabase/config.toml: what the Supabase CLI gives a project beside the migrations."""

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return tomllib.loads((MIGRATIONS.parent / "config.toml").read_text(encoding="utf-8"))

    def test_only_the_public_schema_is_exposed(self, config: dict[str, Any]) -> None:
        assert config["api"]["schemas"] == ["public"]

    def test_its_buckets_are_those_of_the_migrations_and_private(
        self, config: dict[str, Any], project: Project
    ) -> None:
        buckets = config["storage"]["buckets"]
        assert set(buckets) == {row["id"] for row in project.sql("select id from storage.buckets")}
        assert not any(bucket["public"] for bucket in buckets.values())

    def test_people_can_sign_up_because_the_database_decides(self, config: dict[str, Any]) -> None:
        assert config["auth"]["enable_signup"]
        assert config["auth"]["email"]["enable_signup"]
        assert not config["auth"]["enable_anonymous_sign_ins"]

    def test_form_set_up_and_project_ask_for_passwords_of_the_same_length(
        self, config: dict[str, Any]
    ) -> None:
        form = (MIGRATIONS.parents[1] / "pages" / "widgets" / "sign_in.html").read_text(encoding="utf-8")
        least = config["auth"]["minimum_password_length"]
        assert least == LEAST_PASSWORD
        assert form.count(f'minlength="{least}"') == form.count('autocomplete="new-password"') > 0
