"""/rest/v1 through the real supabase-py, over a real PostgreSQL."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from postgrest.exceptions import APIError
from supabase import Client

from tests.supastub.rig import Person, Project

Clients = Callable[[Person | None], Client]
Http = Callable[[Person | None], httpx.Client]
SEEN = "id,title,stars,extra"


def refused(call: Callable[[], Any]) -> APIError:
    with pytest.raises(APIError) as caught:
        call()
    return caught.value


def add_notes(client: Client, *titles: str) -> list[dict[str, Any]]:
    rows = [{"title": title, "stars": number} for number, title in enumerate(titles)]
    client.table("notes").insert(rows, returning="minimal").execute()
    return client.table("notes").select(SEEN).order("stars").execute().data


def test_a_person_sees_only_own_rows(client_of: Clients, anne: Person, ben: Person) -> None:
    add_notes(client_of(anne), "hers")
    add_notes(client_of(ben), "his")
    assert [row["title"] for row in client_of(ben).table("notes").select(SEEN).execute().data] == ["his"]


def test_a_row_in_somebody_elses_name_is_refused(client_of: Clients, anne: Person, ben: Person) -> None:
    row = {"title": "forged", "user_id": ben.id}
    error = refused(lambda: client_of(anne).table("notes").insert(row, returning="minimal").execute())
    assert error.code == "42501"


def test_nobody_in_particular_gets_401_and_a_person_403_for_a_missing_grant(http: Http, anne: Person) -> None:
    assert http(None).get("/rest/v1/notes?select=id").status_code == 401
    assert http(anne).get("/rest/v1/notes?select=secret").status_code == 403


def test_a_star_needs_the_right_to_every_column(client_of: Clients, anne: Person) -> None:
    assert refused(lambda: client_of(anne).table("notes").select("*").execute()).code == "42501"


@pytest.mark.parametrize(
    ("narrow", "titles"),
    [
        (lambda q: q.eq("title", "two"), ["two"]),
        (lambda q: q.neq("title", "two"), ["one", "three", "Äpfel, (and) more"]),
        (lambda q: q.gt("stars", 1), ["three", "Äpfel, (and) more"]),
        (lambda q: q.gte("stars", 1).lte("stars", 2), ["two", "three"]),
        (lambda q: q.lt("stars", 1), ["one"]),
        (lambda q: q.in_("title", ["one", "Äpfel, (and) more"]), ["one", "Äpfel, (and) more"]),
        (lambda q: q.is_("extra", "null"), []),
        (lambda q: q.not_.is_("extra", "null").like("title", "t%"), ["two", "three"]),
        (lambda q: q.ilike("title", "%äpfel%"), ["Äpfel, (and) more"]),
        (lambda q: q.or_("title.eq.one,and(stars.gte.1,stars.lt.2)"), ["one", "two"]),
        (lambda q: q.or_('title.eq."Äpfel, (and) more",stars.eq.9'), ["Äpfel, (and) more"]),
        (lambda q: q.eq("extra->>n", "1"), []),
        (lambda q: q.range(1, 2), ["two", "three"]),
        (lambda q: q.limit(1), ["one"]),
    ],
)
def test_filters(client_of: Clients, anne: Person, narrow: Callable[[Any], Any], titles: list[str]) -> None:
    client = client_of(anne)
    add_notes(client, "one", "two", "three", "Äpfel, (and) more")
    query = narrow(client.table("notes").select("title").order("stars"))
    assert [row["title"] for row in query.execute().data] == titles


def test_order_puts_nulls_where_it_is_told(project: Project, http: Http, anne: Person) -> None:
    for value in ("1", "null"):
        project.sql(
            "insert into public.notes (user_id, title, extra) values (%s, %s, %s)",
            anne.id,
            value,
            f'{{"n": {value}}}',
        )
    asked = "/rest/v1/notes?select=title,n:extra->>n&order=extra->>n.asc.nullsfirst"
    assert [row["n"] for row in http(anne).get(asked).json()] == [None, "1"]


def test_exact_counts_and_head(client_of: Clients, anne: Person) -> None:
    client = client_of(anne)
    add_notes(client, "one", "two", "three")
    page = client.table("notes").select("id", count="exact").limit(2).execute()
    assert (len(page.data), page.count) == (2, 3)
    assert client.table("notes").select("id", count="exact", head=True).execute().count == 3


def test_the_range_header_pages(http: Http, anne: Person, client_of: Clients) -> None:
    add_notes(client_of(anne), "one", "two", "three")
    answer = http(anne).get(
        "/rest/v1/notes?select=title&order=stars", headers={"Range": "1-1", "Prefer": "count=exact"}
    )
    assert (answer.status_code, answer.headers["content-range"]) == (206, "1-1/3")


def test_changed_rows_come_back_when_wanted(client_of: Clients, anne: Person, http: Http) -> None:
    note = add_notes(client_of(anne), "one")[0]
    answer = http(anne).patch(
        f"/rest/v1/notes?id=eq.{note['id']}&select=title,stars",
        json={"stars": 5},
        headers={"Prefer": "return=representation"},
    )
    assert answer.json() == [{"title": "one", "stars": 5}]
    assert (
        client_of(anne).table("notes").delete(returning="minimal").eq("id", note["id"]).execute().data == []
    )


def test_an_upsert_changes_or_leaves_what_is_there(http: Http, client_of: Clients, anne: Person) -> None:
    note = add_notes(client_of(anne), "one")[0]
    row = {"id": note["id"], "title": "other", "user_id": anne.id}
    for resolution, title in (("ignore-duplicates", "one"), ("merge-duplicates", "other")):
        answer = http(anne).post(
            "/rest/v1/notes?on_conflict=id",
            json=row,
            headers={"Prefer": f"resolution={resolution},return=minimal"},
        )
        if resolution == "merge-duplicates":  # it would change the owner too, for which there is no grant
            assert answer.status_code == 403
            continue
        assert answer.status_code == 201
        assert http(anne).get("/rest/v1/notes?select=title").json() == [{"title": title}]


def test_an_empty_list_inserts_nothing(http: Http, anne: Person) -> None:
    answer = http(anne).post("/rest/v1/notes?select=id", json=[], headers={"Prefer": "return=representation"})
    assert (answer.status_code, answer.json()) == (201, [])


def test_wrong_values_are_the_databases_own_errors(client_of: Clients, anne: Person) -> None:
    client = client_of(anne)
    assert refused(lambda: client.table("notes").select("id").eq("id", "no-uuid").execute()).code == "22P02"
    assert refused(lambda: client.table("notes").select("id").eq("wrong", "1").execute()).code == "42703"
    stars = {"title": "x", "stars": 9}
    assert refused(lambda: client.table("notes").insert(stars, returning="minimal").execute()).code == "23514"
    unknown = {"title": "x", "colour": "red"}
    assert (
        refused(lambda: client.table("notes").insert(unknown, returning="minimal").execute()).code
        == "PGRST204"
    )


def test_a_change_of_everything_is_refused(http: Http, anne: Person) -> None:
    answer = http(anne).delete("/rest/v1/notes")
    assert (answer.status_code, answer.json()["code"]) == (400, "21000")


def test_single_wants_exactly_one_row(client_of: Clients, anne: Person) -> None:
    client = client_of(anne)
    assert refused(lambda: client.table("notes").select("id").single().execute()).code == "PGRST116"
    add_notes(client, "one")
    assert client.table("notes").select("title").single().execute().data == {"title": "one"}


def test_at_most_a_thousand_rows_come_silently(client_of: Clients) -> None:
    client = client_of(None)
    assert len(client.rpc("count_to", {"p_last": 1500}).execute().data) == 1000
    assert len(client.rpc("numbered", {"p_last": 1500}).limit(1400).execute().data) == 1000


def test_functions_answer_by_their_kind(client_of: Clients, anne: Person) -> None:
    client = client_of(anne)
    add_notes(client, "one", "two")
    assert client.rpc("add", {"p_left": 2}).execute().data == 3
    assert client.rpc("add", {"p_left": 2, "p_right": 5}, get=True).execute().data == 7
    assert client.rpc("echo", {"p_value": {"a": [1, None, "ü"]}}).execute().data == {"a": [1, None, "ü"]}
    assert client.rpc("echo", {"p_value": None}).execute().data is None
    rows = client.rpc("my_notes", {"p_least": 1}).select("title").execute().data
    assert rows == [{"title": "two"}]
    assert client.rpc("numbered", {"p_last": 3}).gt("n", 1).order("n", desc=True).execute().data[0] == {
        "n": 3,
        "square": 9,
    }


def test_void_answers_204(http: Http) -> None:
    answer = http(None).post("/rest/v1/rpc/nothing", json={})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_sentence_raised_in_sql_arrives_with_its_status(http: Http, client_of: Clients) -> None:
    assert http(None).post("/rest/v1/rpc/refuse", json={"p_code": "7"}).status_code == 409
    error = refused(lambda: client_of(None).rpc("refuse", {"p_code": "7"}).execute())
    assert (error.code, error.message, error.hint) == ("PT409", "Somebody else was quicker.", "Look again.")


def test_a_function_that_says_it_only_reads_may_not_write(http: Http, anne: Person) -> None:
    answer = http(anne).post("/rest/v1/rpc/pretend", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "25006")


def test_unknown_functions_and_arguments_are_404(client_of: Clients) -> None:
    client = client_of(None)
    assert refused(lambda: client.rpc("missing", {}).execute()).code == "PGRST202"
    assert refused(lambda: client.rpc("add", {"p_wrong": 1}).execute()).code == "PGRST202"


def test_requests_run_as_their_role_with_its_time_limit(project: Project, http: Http, anne: Person) -> None:
    token = {"x-job-token": "lsj_1"}
    nobody = http(None).post("/rest/v1/rpc/asked", json={}, headers=token).json()
    assert nobody == {
        "role": "anon",
        "login": "authenticator",
        "limit": "3s",
        "header": "lsj_1",
        "person": None,
    }
    assert http(anne).post("/rest/v1/rpc/asked", json={}).json()["limit"] == "8s"
    headers = {"apikey": project.secret_key}
    assert (
        httpx.post(f"{project.url}/rest/v1/rpc/asked", json={}, headers=headers).json()["role"]
        == "service_role"
    )


def test_what_takes_too_long_is_cut_off(project: Project, http: Http) -> None:
    project.sql("alter role anon set statement_timeout = '150ms'")
    try:
        project.reload_schema()
        answer = http(None).post("/rest/v1/rpc/doze", json={"p_seconds": 3})
    finally:
        project.sql("alter role anon set statement_timeout = '3s'")
        project.reload_schema()
    assert (answer.status_code, answer.json()["code"]) == (500, "57014")


def test_a_functions_own_time_limit_holds(http: Http) -> None:
    assert http(None).post("/rest/v1/rpc/hasty", json={}).json()["code"] == "57014"


def test_tokens_are_checked(project: Project, anne: Person) -> None:
    def ask(token: str, key: str = project.publishable_key) -> httpx.Response:
        headers = {"apikey": key, "Authorization": f"Bearer {token}"} if key else {}
        return httpx.get(f"{project.url}/rest/v1/notes?select=id", headers=headers)

    assert ask("", "").status_code == 401
    assert ask(anne.token, "sb_publishable_wrong").json()["message"] == "Invalid API key"
    assert ask(project.token(anne, -60)).json()["code"] == "PGRST303"
    assert ask(anne.token[:-4] + "AAAA").json()["code"] == "PGRST301"
    assert ask("no-token").json()["code"] == "PGRST301"
    assert ask(anne.token, project.keys.legacy("anon")).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        "notes?select=id,user(*)",
        "notes?select=id&title=fts.word",
        "notes?select=count()",
        "notes?select=id&title=like(any).{a}",
    ],
)
def test_what_the_rig_does_not_do_is_a_loud_501(http: Http, anne: Person, asked: str) -> None:
    answer = http(anne).get(f"/rest/v1/{asked}")
    assert answer.status_code == 501
    assert "THE TEST RIG DOES NOT DO THIS" in answer.json()["message"]


def test_new_tables_and_functions_are_seen_at_once(project: Project, client_of: Clients) -> None:
    project.sql("create function public.late() returns integer language sql as 'select 7'")
    assert client_of(None).rpc("late", {}).execute().data == 7
