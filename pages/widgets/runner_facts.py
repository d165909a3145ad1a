"""What is said of a runner wherever it is shown: its state as a badge, whose jobs it takes, what the machine has."""

from collections import Counter

import streamlit as st

from lora_core.actions.runners import is_online
from lora_core.schema.runner import RunnerInfo, RunnerScope
from pages.widgets.badges import Colour
from pages.widgets.plain import plain

STATE: dict[str, tuple[str, str, Colour]] = {
    "idle": ("Free", ":material/check_circle:", "green"),
    "training": ("Training", ":material/model_training:", "blue"),
    "busy": ("At work", ":material/manufacturing:", "blue"),
    "stopping": ("Stopping", ":material/stop_circle:", "orange"),
}
SCOPE: dict[RunnerScope, tuple[str, str, Colour]] = {
    RunnerScope.MINE: ("My jobs", ":material/person:", "gray"),
    RunnerScope.TEAM: ("Whole team", ":material/groups:", "violet"),
}
_OFFLINE: tuple[str, str, Colour] = ("Offline", ":material/power_off:", "gray")


def state_badge(machine: RunnerInfo) -> None:
    """Draw whether a machine is there, and what it does."""
    word, icon, colour = STATE.get(machine.state, STATE["busy"]) if is_online(machine) else _OFFLINE
    st.badge(word, icon=icon, color=colour)


def scope_badge(scope: RunnerScope) -> None:
    """Draw whose jobs a runner takes."""
    word, icon, colour = SCOPE[scope]
    st.badge(word, icon=icon, color=colour)


def machine_facts(machine: RunnerInfo) -> str:
    """Say what a machine has, in one line.

    GPUs of one kind are counted; their memory is that of the smallest.
    """
    counted = Counter(machine.gpus)
    gpus = ", ".join(
        f"{count} × {plain(name)}" if count > 1 else plain(name) for name, count in counted.items()
    )
    each = " each" if len(machine.gpus) > 1 else ""
    facts = [
        f"{machine.cpus} CPU{'s' if machine.cpus != 1 else ''}",
        f"{machine.memory_gb:g} GB memory",
        f"{gpus} with {machine.gpu_memory_gb:g} GB{each}" if gpus else "no GPU",
        f"version {plain(machine.version)}",
    ]
    return " · ".join(facts)
