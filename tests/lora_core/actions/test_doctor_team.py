"""What the doctor says about a team's project."""

import base64
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from lora_core.actions import doctor_team
from lora_core.actions.doctor import examine
from lora_core.actions.doctor_team import examine_team
from lora_core.actions.findings import Finding
from lora_core.errors import ConfigError
from lora_core.settings import Settings
from tests.supastub.rig import Project


def found(project: Project, *, key: str = "", token: str = "") -> dict[str, Finding]:
    settings = Settings(
        supabase_url=project.url, supabase_key=key or project.publishable_key, runner_token=SecretStr(token)
    )
    return {finding.what: finding for finding in examine_team(settings)}


def test_a_good_project_has_nothing_to_do(project: Project) -> None:
    findings = found(project)
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert findings["Project key"].found == "publishable"
    assert "50 MB" in findings["File limits"].found
    assert "none set" in findings["Runner token"].found


def test_the_doctor_of_an_embedded_studio_asks_nobody(tmp_path: Path) -> None:
    assert "Project" not in [finding.what for finding in examine(Settings(home=tmp_path))]


def test_a_legacy_key_works_and_is_warned_about(project: Project) -> None:
    findings = found(project, key=project.keys.legacy("anon"))
    assert findings["Project key"].level == "warning"
    assert findings["Project"].level == "ok"


def test_a_key_that_passes_every_policy_is_refused_at_once(project: Project) -> None:
    for key in (project.secret_key, project.keys.legacy("service_role")):
        with pytest.raises(ConfigError, match="passes every policy"):
            Settings(supabase_url=project.url, supabase_key=key)


@pytest.mark.parametrize("claims", [b"[]", b"{", b"\xff", b'{"role": ["anon"]}', b"[" * 100_000])
def test_a_key_that_is_no_token_is_unknown(claims: bytes) -> None:
    key = f"a.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.b"
    assert Settings(supabase_url="https://x.example.org", supabase_key=key).supabase_key == key


def test_a_wrong_key_is_said(project: Project) -> None:
    findings = found(project, key="sb_publishable_of_another")
    assert findings["Project"].level == "error"
    assert "not one of this project's" in findings["Project"].found


def test_a_project_without_the_studio_is_said(project: Project) -> None:
    project.sql("drop function public.studio_about()")
    project.reload_schema()
    assert "supabase db push" in found(project)["Project"].next_step


def test_another_version_is_an_error(project: Project) -> None:
    answer = json.dumps({"version": "20200101000000", "now": "2026-01-01T00:00:00Z", "max_object_bytes": {}})
    project.sql(
        "create or replace function public.studio_about() returns jsonb language sql as "
        f"$$ select '{answer}'::jsonb $$"
    )
    findings = found(project)
    assert findings["Project database"].level == "error"
    assert findings["Buckets"].level == "error"
    assert "ahead of" in findings["Clock"].found


def test_limits_of_buckets_are_told(project: Project) -> None:
    project.sql("update storage.buckets set file_size_limit = 2000000000 where id = 'model-artifacts'")
    assert "model-artifacts 2,000 MB" in found(project)["File limits"].found


def test_a_project_that_takes_no_accounts_is_an_error(project: Project) -> None:
    project.settings.allow_sign_up = False
    assert found(project)["Accounts"].level == "error"


def test_confirmed_addresses_need_a_mail_server(project: Project) -> None:
    project.settings.confirm_email = True
    assert "own mail server" in found(project)["Accounts"].next_step


def test_a_runner_token_that_is_not_known_is_an_error(project: Project) -> None:
    finding = found(project, token="lsr_nobody")["Runner token"]
    assert finding.level == "error"
    assert "Register the runner again" in finding.next_step


@pytest.mark.parametrize(("ahead", "words"), [(90.0, "90 s behind"), (-90.0, "90 s ahead of")])
def test_a_clock_that_is_off_is_warned_about(ahead: float, words: str) -> None:
    finding = doctor_team._clock(ahead)
    assert (finding.level, words in finding.found) == ("warning", True)
