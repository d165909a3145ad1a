"""Heavy work a person has asked for, as rows of a project."""

from collections.abc import Sequence

from lora_core.errors import Forbidden
from lora_core.schema.runner import Task
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import TASK_COLUMNS, check_id, not_found, read_task, task_row

LISTED = 50
_WHAT = "task"


class SupabaseTaskStore:
    """TaskStore over PostgREST and functions."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def add(self, task: Task) -> Task:
        """Insert a waiting task, or return the open one of its kind and subject; see `TaskStore.add`."""
        if task.user_id != self._user_id:
            raise Forbidden("A task is added by the person it belongs to.")
        return read_task(self._client.rpc("add_task", {"p_task": task_row(task)}))

    def get(self, task_id: str) -> Task:
        """Return one task; see `TaskStore.get`."""
        query = self._client.table("tasks").select(*TASK_COLUMNS).eq("id", check_id(task_id, _WHAT))
        rows = self._client.rows(query.eq("user_id", self._user_id).limit(1))
        if not rows:
            raise not_found(_WHAT)
        return read_task(rows[0])

    def of_subject(self, subject_id: str) -> Sequence[Task]:
        """Return the tasks about one data set or model, newest first; see `TaskStore.of_subject`."""
        query = self._client.table("tasks").select(*TASK_COLUMNS).eq("user_id", self._user_id)
        query = query.eq("subject_id", subject_id).order("created_at", desc=True).order("id").limit(LISTED)
        return [read_task(row) for row in self._client.rows(query)]
