"""From settings to the ports of a runner or a pod. Nothing here or below loads supabase-py: a runner stays small."""

from collections.abc import Callable

from lora_core.errors import ConfigError
from lora_core.secrets import Secret
from lora_core.settings import Settings
from lora_core.store.supabase.dispatch_port import SupabaseDispatchPort
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.gateway import Gateway, key_headers
from lora_core.store.supabase.pod_port import SupabasePodPort
from lora_core.store.supabase.runner_port import SupabaseRunnerPort
from lora_core.store.supabase.task_port import SupabaseTaskPort


def open_runner_ports(settings: Settings) -> tuple[SupabaseRunnerPort, SupabaseTaskPort]:
    """Return the ports of a registered runner. Makes no call yet.

    Raises:
        ConfigError: There is no runner token, or no project.
    """
    token = _runner_token(settings)
    gateway, files = _project(settings)
    return (
        SupabaseRunnerPort(gateway, files, settings.supabase_key, token),
        SupabaseTaskPort(gateway, files, settings.supabase_key, token),
    )


def open_dispatch_port(settings: Settings) -> tuple[SupabaseDispatchPort, Callable[[], None]]:
    """Return the port of a registered runner that sends notifications, and what closes it. Makes no call yet.

    Raises:
        ConfigError: There is no runner token, or no project.
    """
    token = _runner_token(settings)
    gateway = Gateway(settings.supabase_url, settings.supabase_key)
    return SupabaseDispatchPort(gateway, token), gateway.close


def open_pod_port(settings: Settings) -> SupabasePodPort:
    """Return the port of a machine that was handed one job. Makes no call yet.

    Raises:
        ConfigError: There is no job token, or no project.
    """
    token = _token(settings.job_token.get_secret_value(), "LORA_STUDIO_JOB_TOKEN", "lsj_")
    if token is None:
        raise ConfigError(
            "A machine that is handed a job needs the job's token.",
            "Hand the job out on its page, and set LORA_STUDIO_JOB_TOKEN to the token shown there.",
        )
    gateway, files = _project(settings)
    return SupabasePodPort(gateway, files, settings.supabase_key, token)


def _runner_token(settings: Settings) -> Secret:
    token = _token(settings.runner_token.get_secret_value(), "LORA_STUDIO_RUNNER_TOKEN", "lsr_")
    if token is None:
        raise ConfigError(
            "A runner of a team needs a token of its own.",
            "Register it in the studio's settings, under Runners, and set LORA_STUDIO_RUNNER_TOKEN to the token shown there.",
        )
    return token


def _project(settings: Settings) -> tuple[Gateway, StorageFiles]:
    if not settings.team:
        raise ConfigError(
            "There is no Supabase project.",
            "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY to those of the team.",
        )
    headers = key_headers(settings.supabase_key)
    return Gateway(settings.supabase_url, settings.supabase_key), StorageFiles(
        settings.supabase_url, lambda: headers
    )


def _token(value: str, name: str, prefix: str) -> Secret | None:
    token = value.strip()
    if token and not token.startswith(prefix):
        raise ConfigError(f"{name} holds something else: such a token begins with {prefix}.")
    return Secret(token) if token else None
