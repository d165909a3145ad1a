"""Looks over this machine, and a team's project if there is one, and says what is missing and what to do. Loads nothing heavy."""

import importlib.metadata
import importlib.util
import os
import sqlite3
import sys
from typing import Literal

import psutil

from lora_core.actions.doctor_home import examine_home
from lora_core.actions.doctor_team import examine_team
from lora_core.actions.findings import Finding
from lora_core.models.catalogue import DEMO_MODEL
from lora_core.models.weights import folder_of, is_present
from lora_core.settings import Settings

MIN_SQLITE = (3, 35, 0)
APP_PACKAGES = ("streamlit", "altair", "pandas", "pyarrow", "tokenizers")
RUNNER_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")


def examine(settings: Settings) -> list[Finding]:
    """Return findings, worst last to be read first on a terminal."""
    findings = [
        _python(),
        *(_package(name, "error") for name in APP_PACKAGES),
        *(_package(name, "warning") for name in RUNNER_PACKAGES),
        _sqlite(),
        *examine_home(settings),
        _processors(),
        _gpu(),
        _demo_model(settings),
        *(examine_team(settings) if settings.team else ()),
    ]
    return sorted(findings, key=lambda finding: ("ok", "warning", "error").index(finding.level))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("ok", "Python", version)


def _package(name: str, level: Literal["warning", "error"]) -> Finding:
    try:
        return Finding("ok", name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        file = "app" if level == "error" else "runner"
        use = "" if level == "error" else " (needed where jobs train, not where only the app runs)"
        return Finding(level, name, f"missing{use}", f"pip install -r requirements/{file}.txt")


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        return Finding(
            "error", "SQLite", sqlite3.sqlite_version, "Use a Python built with SQLite 3.35 or newer."
        )
    return Finding("ok", "SQLite", sqlite3.sqlite_version)


def _processors() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gb = psutil.virtual_memory().total / 1e9
    return Finding("ok", "Processors", f"{count} CPUs, {memory_gb:.0f} GB memory")


def _gpu() -> Finding:
    if importlib.util.find_spec("pynvml") is None:
        return Finding("warning", "GPU", "cannot be read", "pip install -r requirements/runner.txt")
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Finding("ok", "GPU", "none: jobs train on the CPU (small models only)")
    try:
        count = pynvml.nvmlDeviceGetCount()
        names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
    finally:
        pynvml.nvmlShutdown()
    return Finding("ok", "GPU", ", ".join(map(str, names)) or "none")


def _demo_model(settings: Settings) -> Finding:
    if is_present(folder_of(DEMO_MODEL, settings.models)):
        return Finding("ok", "Demo model", DEMO_MODEL.title)
    return Finding(
        "warning", "Demo model", "not fetched yet", "`make start` fetches it (about 300 MB of disk)."
    )
