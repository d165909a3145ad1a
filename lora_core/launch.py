"""Runs the app and one runner beside each other until Ctrl-C. Knows them only as commands."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from urllib.parse import urlsplit

from lora_core.errors import ConfigError, Unavailable
from lora_core.settings import Settings, is_loopback

MAX_RESTARTS = 5
RESTART_WINDOW_SECONDS = 60.0


@dataclass
class Child:
    """One process that is kept alive: started again when it ends by itself, but not for ever."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        """Start the process in its own session, so that Ctrl-C reaches it only through us, and once."""
        self.starts.append(time.monotonic())
        self.process = subprocess.Popen(self.command, start_new_session=True)

    def keep_alive(self) -> bool:
        """Start again if it has ended.

        Returns:
            False once it has ended too often to go on.
        """
        if self.process is None or self.process.poll() is None:
            return True
        recent = [at for at in self.starts if time.monotonic() - at < RESTART_WINDOW_SECONDS]
        if len(recent) >= MAX_RESTARTS:
            return False
        self.start()
        return True

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end; kill it if it has not by then."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_studio(settings: Settings, tell: Callable[[str], None]) -> int:
    """Run app and runner until a signal or until one of them cannot be kept alive.

    A job in progress is released by the runner: it saves a checkpoint and goes on at the next start. In a team, a machine
    without a runner token runs the app alone.

    Returns:
        Exit status: 0 after a signal, 1 if a part kept ending.

    Raises:
        ConfigError: The embedded mode is to listen to other machines.
        Unavailable: The port is taken.
    """
    refuse_open_door(settings, settings.host)
    _require_free_port(settings)
    children = [Child("app", app_command(settings))]
    if not settings.team or settings.runner_token.get_secret_value():
        children.insert(0, Child("runner", [sys.executable, "-m", "runner"]))
    else:
        tell("No runner here: LORA_STUDIO_RUNNER_TOKEN is not set. Register one on the Settings page.")
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    for child in children:
        child.start()
    address = settings.public_url or f"http://{settings.host}:{settings.port}"
    tell(f"LoRA Studio is at {address} (Ctrl-C stops it; a running job is saved first).")
    if not is_loopback(settings.host) and not settings.public_url.startswith("https://"):
        tell(
            "Passwords travel in clear: put the app behind https and set LORA_STUDIO_PUBLIC_URL to that address."
        )
    status = 0
    while not stopped:
        time.sleep(0.2)
        for child in children:
            if not child.keep_alive():
                tell(f"The {child.name} ended {MAX_RESTARTS} times within a minute; see its messages above.")
                status, stopped = 1, True
    tell(
        "Stopping ..."
        if len(children) == 1
        else "Stopping: the app first, then the runner, which saves a running job ..."
    )
    for child in reversed(children):
        child.stop(10 if child.name == "app" else settings.release_grace_seconds + 30)
    tell("Stopped.")
    return status


def app_command(settings: Settings) -> list[str]:
    """Return the command that serves the app."""
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        "app.py",
        f"--server.address={settings.host}",
        f"--server.port={settings.port}",
        "--server.headless=true",
        *(f"--server.allowedHosts={name}" for name in _names(settings)),
    ]


def refuse_open_door(settings: Settings, host: str) -> None:
    """Check where the app is to listen.

    Raises:
        ConfigError: The embedded mode has no sign-in, and the address can be reached from other machines.
    """
    if not settings.team and not is_loopback(host):
        raise ConfigError(
            f"Without sign-in the app may listen on this machine only, not on {host or 'every address'}.",
            "Set LORA_STUDIO_HOST to 127.0.0.1 and forward the port (ssh -L), or set the studio up for a team.",
        )


def _names(settings: Settings) -> list[str]:
    """Return the host names of a team's public address for Streamlit; none leaves what .streamlit/config.toml says."""
    public = urlsplit(settings.public_url).hostname
    return ["localhost", "127.0.0.1", "::1", public] if settings.team and public else []


def _require_free_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Unavailable(
                f"Port {settings.port} on {settings.host} is in use ({os.strerror(error.errno or 0)}).",
                "Stop the other program, or set LORA_STUDIO_PORT to another number.",
            ) from error
