"""Looks over a team's project from this machine: reachable, right version, right key, clock, limits, runner token."""

from collections.abc import Mapping

from lora_core.actions.findings import Finding
from lora_core.errors import ConfigError, StudioError
from lora_core.settings import KeyKind, Settings, key_kind
from lora_core.store.supabase.about import Project, ProjectAbout, check_version

MAX_APART_SECONDS = 10.0
"""Moments are stamped here and compared there; a larger difference shows in times and leases."""


def examine_team(settings: Settings) -> list[Finding]:
    """Return what was found about the project that the settings name. It takes a few seconds where nothing answers."""
    findings = [_key(settings.supabase_key)]
    project = Project(settings.supabase_url, settings.supabase_key)
    try:
        about = project.about()
    except StudioError as error:
        return [*findings, Finding("error", "Project", error.message, error.next_step)]
    else:
        findings += [
            Finding("ok", "Project", settings.supabase_url),
            _version(about),
            _clock(about.ahead_seconds),
            _limits(about.max_object_bytes),
            _accounts(project),
            _runner_token(project, settings.runner_token.get_secret_value()),
        ]
        return findings
    finally:
        project.close()


def _key(key: str) -> Finding:
    kind = key_kind(key)
    if kind is KeyKind.PUBLISHABLE:
        return Finding("ok", "Project key", "publishable")
    if kind is KeyKind.LEGACY_ANON:
        return Finding(
            "warning",
            "Project key",
            "legacy anon key",
            "Supabase removes these keys at the end of 2026: make a publishable one (Settings, API keys).",
        )
    return Finding(
        "warning", "Project key", "of an unknown kind", "A publishable key begins with sb_publishable_."
    )


def _version(about: ProjectAbout) -> Finding:
    try:
        check_version(about.version)
    except ConfigError as error:
        return Finding("error", "Project database", error.message, error.next_step)
    return Finding("ok", "Project database", f"version {about.version}")


def _clock(ahead_seconds: float) -> Finding:
    apart = abs(ahead_seconds)
    if apart <= MAX_APART_SECONDS:
        return Finding("ok", "Clock", f"within {max(apart, 0.1):.1f} s of the project's")
    direction = "behind" if ahead_seconds > 0 else "ahead of"
    return Finding(
        "warning",
        "Clock",
        f"{apart:.0f} s {direction} the project's",
        "Let this machine set its clock by the network (NTP): times on charts and in logs would be off.",
    )


def _limits(limits: Mapping[str, int | None]) -> Finding:
    missing = [name for name in ("lora-datasets", "training-files", "model-artifacts") if name not in limits]
    if missing:
        return Finding(
            "error",
            "Buckets",
            f"missing: {', '.join(missing)}",
            "Apply the migrations again: supabase db push.",
        )
    own = [f"{name} {limit / 1e6:,.0f} MB" for name, limit in sorted(limits.items()) if limit is not None]
    if own:
        return Finding("ok", "File limits", f"{', '.join(own)}, and the project's own")
    return Finding(
        "ok",
        "File limits",
        "the project's own (50 MB a file on the Free plan)",
        "Adapters of large models are larger than 50 MB: docs/supabase.md says what to do.",
    )


def _accounts(project: Project) -> Finding:
    try:
        auth = project.auth()
    except StudioError as error:
        return Finding("warning", "Accounts", error.message, error.next_step)
    if not auth.sign_up:
        return Finding(
            "error",
            "Accounts",
            "the project takes no new accounts, so invitations cannot be accepted",
            "Authentication, Sign in / Providers: allow new users to sign up. The database lets in invited people only.",
        )
    if auth.confirms_email:
        return Finding(
            "ok",
            "Accounts",
            "new people confirm their e-mail address",
            "Give the project its own mail server: the built-in one sends a few mails an hour.",
        )
    return Finding("ok", "Accounts", "by invitation, unless the operator opens sign-up")


def _runner_token(project: Project, token: str) -> Finding:
    if not token:
        return Finding("ok", "Runner token", "none set (needed where a runner runs)")
    try:
        runner = project.runner(token)
    except StudioError as error:
        return Finding("error", "Runner token", error.message, error.next_step)
    whose = "the whole team's jobs" if runner.scope == "team" else "its owner's jobs"
    return Finding("ok", "Runner token", f"good: {runner.name}, for {whose}")
