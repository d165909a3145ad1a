"""The stage of tests about runners' functions: a person with data sets and jobs, runners with tokens, calls as of the API."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, cast

import psycopg
from psycopg.types.json import Jsonb

from tests.supabase_sql.stage import hex_of
from tests.supastub.rig import Person, Project

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SHA256 = "0" * 64
Json = dict[str, Any]


def new_token() -> str:
    """Return a token as clients make it, but for its randomness."""
    return f"lsx_{uuid.uuid4().hex}"


def call(connection: psycopg.Connection[Any], function: str, **parameters: Any) -> Any:
    """Call a function of schema public by the names of its parameters, as PostgREST does."""
    marks = ", ".join(f"p_{name} => %s" for name in parameters)
    values = [Jsonb(value) if isinstance(value, dict | list) else value for value in parameters.values()]
    row = connection.execute(
        cast(LiteralString, f"select public.{function}({marks}) as answer"), values
    ).fetchone()
    return row["answer"] if row else None


def runner_of(name: str = "workstation", /, **changes: Any) -> Json:
    """Make a runner without a GPU, as it describes itself."""
    values = {
        "version": "0.1.0",
        "roles": ["train"],
        "cpus": 4,
        "memory_gb": 16.0,
        "gpus": [],
        "gpu_memory_gb": 0.0,
    }
    times = {"started_at": START.isoformat(), "seen_at": START.isoformat()}
    return {"id": name, "name": name, "state": "idle", **values, **times, **changes}


def race(
    connections: Sequence[psycopg.Connection[Any]], work: Callable[[psycopg.Connection[Any]], Any]
) -> list[Any]:
    """Let every connection do the same at the same time; return what came, errors too."""
    answers: list[Any] = []
    barrier = threading.Barrier(len(connections))

    def run(connection: psycopg.Connection[Any]) -> None:
        barrier.wait(10)
        try:
            answers.append(work(connection))
        except psycopg.Error as error:
            answers.append(error)

    threads = [threading.Thread(target=run, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == len(connections)
    return answers


class Workshop:
    """One project with Anne in it. Not thread-safe; threads take a connection of their own each (`connections`)."""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self.project = project
        self._stack = stack
        self.anne = project.add_person()
        self.anon = self.connections(1)[0]
        self._people: dict[str, psycopg.Connection[Any]] = {}
        self.token = self.register(self.anne)

    def connections(self, count: int) -> list[psycopg.Connection[Any]]:
        """Return connections of runners."""
        return [self._stack.enter_context(self.project.as_role("anon")) for _ in range(count)]

    def sql(self, query: str, *parameters: Any) -> list[Json]:
        """Run a statement as the superuser."""
        return self.project.sql(query, *parameters)

    def ask(self, function: str, **parameters: Any) -> Any:
        """Call a function as a runner does."""
        return call(self.anon, function, **parameters)

    def asked_by(self, person: Person, function: str, **parameters: Any) -> Any:
        """Call a function as a person does."""
        if person.id not in self._people:
            role = self.project.as_role("authenticated", {"sub": person.id})
            self._people[person.id] = self._stack.enter_context(role)
        return call(self._people[person.id], function, **parameters)

    def register(self, person: Person, scope: str = "mine") -> str:
        """Let a runner in and return its token."""
        token = new_token()
        place = {"id": str(uuid.uuid4()), "name": "Shed", "scope": scope, "token_sha256": hex_of(token)}
        self.asked_by(person, "register_runner", **place)
        return token

    def registration(self, token: str) -> str:
        """Return the id of the registration that a runner token stands for."""
        query = "select registration_id from private.runner_tokens where token_sha256 = decode(%s, 'hex')"
        return str(self.sql(query, hex_of(token))[0]["registration_id"])

    def store(self, key: str, size: int = 10, bucket: str = "model-artifacts") -> None:
        """Put an object into Storage, as a finished upload leaves it."""
        self.sql(
            "insert into storage.objects (bucket_id, name, metadata) values (%s, %s, %s)",
            bucket,
            key,
            json.dumps({"size": size}),
        )

    def add_dataset(self, person: Person | None = None, **changes: Any) -> str:
        """Store a data set with its file."""
        owner, dataset = (person or self.anne).id, str(uuid.uuid4())
        values = {
            "id": dataset,
            "user_id": owner,
            "name": "Support tickets",
            "storage_bucket": "lora-datasets",
            "storage_path": f"{owner}/datasets/{dataset}/data",
            "bytes": 10,
            **changes,
        }
        names = ", ".join(values)
        self.sql(
            f"insert into public.datasets ({names}) values ({', '.join(['%s'] * len(values))})",
            *values.values(),
        )
        self.store(values["storage_path"], values["bytes"], values["storage_bucket"])
        return dataset

    def submit(self, person: Person | None = None, **changes: Any) -> str:
        """Submit a job on a new data set."""
        owner = person or self.anne
        dataset = changes.pop("dataset_id", None) or self.add_dataset(owner)
        job = {"id": str(uuid.uuid4()), "name": "First try", "dataset_id": dataset, "config": {}, **changes}
        self.asked_by(owner, "submit_job", job={"created_at": START.isoformat(), **job})
        return str(job["id"])

    def claim(
        self,
        runner: Json | None = None,
        *,
        token: str = "",
        job_token: str = "",
        lease_seconds: float = 30,
        by: Any = None,
    ) -> Json | None:
        """Claim a job; the answer also has the job token."""
        made = job_token or new_token()
        parameters = {
            "token": token or self.token,
            "runner": runner or runner_of(),
            "lease_seconds": lease_seconds,
        }
        answer = call(by or self.anon, "runner_claim", **parameters, job_token_sha256=hex_of(made))
        return None if answer is None else {**answer, "token": made}

    def held(self, **changes: Any) -> "Held":
        """Submit a job and claim it."""
        job = self.submit(**changes)
        claim = self.claim()
        assert claim is not None
        assert claim["job"]["id"] == job
        return Held(self, claim)

    def running(self, **changes: Any) -> "Held":
        """Submit a job, claim it and let training begin (event 1)."""
        held = self.held(**changes)
        held.ship(phases=[held.event(name="training", start_step=0, total_steps=1000)])
        return held

    def job(self, job: str) -> Json:
        """Return a job's row as the superuser sees it."""
        return self.sql("select * from public.training_jobs where id = %s", job)[0]

    def attempt(self, job: str, number: int) -> Json:
        """Return an attempt's row."""
        return self.sql("select * from public.job_attempts where job_id = %s and number = %s", job, number)[0]

    def events(self, job: str) -> list[str]:
        """Return the actions of a job's audit trail, oldest first."""
        return [
            row["action"]
            for row in self.sql("select action from public.job_events where job_id = %s order by seq", job)
        ]

    def told(self) -> list[Json]:
        """Return Anne's notifications, oldest first."""
        return self.sql(
            "select * from public.notifications where user_id = %s order by created_at", self.anne.id
        )

    def wait(self, seconds: float) -> None:
        """Let time pass for the database."""
        self.project.pass_time(seconds)


class Held:
    """A claimed job in the hands of a runner: its token, and events numbered as a trainer numbers them."""

    def __init__(self, shop: Workshop, claim: Json) -> None:
        self.shop = shop
        self.claim = claim
        self.id: str = claim["job"]["id"]
        self.number: int = claim["attempt"]
        self.token: str = claim["token"]
        self.seq = 0

    @property
    def key(self) -> Json:
        """The parameters with which every call begins."""
        return {"token": self.token, "job": self.id, "attempt": self.number}

    def event(self, **data: Any) -> Json:
        """Make the next event."""
        self.seq += 1
        return {"seq": self.seq, "at": (START + timedelta(seconds=self.seq)).isoformat(), **data}

    def point(self, step: int, kind: str = "train", **values: Any) -> Json:
        """Make a metric point."""
        event = self.event(kind=kind, step=step, **values)
        return {**event, "recorded_at": event.pop("at")}

    def evaluation(self, step: int, eval_loss: float | None) -> Json:
        """Make a point of an evaluation."""
        return self.point(step, "eval", eval_loss=eval_loss)

    def batch(self, **lists: Sequence[Json]) -> Json:
        """Make a batch of lists of events."""
        seqs = [event["seq"] for events in lists.values() for event in events]
        return {"count": len(seqs), "last_seq": max(seqs, default=0), **lists}

    def ship(self, **lists: Sequence[Json]) -> None:
        """Ship lists of events as one batch."""
        self.send(self.batch(**lists))

    def send(self, batch: Json) -> None:
        """Ship a batch."""
        self.shop.ask("job_ship", **self.key, batch=batch)

    def renew(self, lease_seconds: float = 30) -> Json:
        """Renew the lease."""
        answer: Json = self.shop.ask("job_renew", **self.key, lease_seconds=lease_seconds)
        return answer

    def end(self, outcome: str, **values: Any) -> None:
        """End the attempt."""
        self.shop.ask(
            "job_end", **self.key, end={"outcome": outcome, "reason": "", "error": "", "result": {}, **values}
        )

    def request(self, action: str) -> str:
        """Let Anne ask for something; return the id of the request."""
        request = str(uuid.uuid4())
        self.shop.asked_by(self.shop.anne, "request_job", job=self.id, action=action, request_id=request)
        return request

    def again(self) -> "Held":
        """Let the runner release the job and claim it again."""
        self.end("released")
        claim = self.shop.claim()
        assert claim is not None
        assert claim["job"]["id"] == self.id
        return Held(self.shop, claim)

    def row(self) -> Json:
        """Return the job's row."""
        return self.shop.job(self.id)

    def points(self, kind: str = "train", *, hidden: bool = False) -> list[Json]:
        """Return points in order of step, without the hidden ones unless asked for."""
        return self.shop.sql(
            "select * from public.metrics_points where job_id = %s and kind = %s and (%s or not hidden) order by step",
            self.id,
            kind,
            hidden,
        )

    def artifact(self, artifact_id: str = "", *, stored: bool = True, **changes: Any) -> Json:
        """Make an artifact of one file of 10 bytes, which is stored unless not wanted."""
        made = artifact_id or str(uuid.uuid4())
        path = f"{self.shop.anne.id}/jobs/{self.id}/{self.number}/{made}"
        if stored:
            self.shop.store(f"{path}/adapter.safetensors")
        values = {
            "user_id": self.shop.anne.id,
            "job_id": self.id,
            "kind": "checkpoint",
            "name": "checkpoint",
            "step": 100,
        }
        files = [{"name": "adapter.safetensors", "bytes": 10, "sha256": SHA256}]
        return {
            "id": made,
            "path": path,
            "files": files,
            "created_at": START.isoformat(),
            **values,
            **changes,
        }

    def put(self, artifact: Json) -> Json:
        """Enter an artifact."""
        row: Json = self.shop.ask("job_put_artifact", **self.key, artifact=artifact)
        return row

    def drop(self, artifact_id: str) -> Json | None:
        """Drop an artifact."""
        row: Json | None = self.shop.ask("job_drop_artifact", **self.key, artifact=artifact_id)
        return row


@contextmanager
def open_workshop(project: Project) -> Iterator[Workshop]:
    """Open the stage on a fresh project."""
    with ExitStack() as stack:
        yield Workshop(project, stack)
