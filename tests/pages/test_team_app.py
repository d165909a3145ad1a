"""A team's app as a process: with the first request of its life it shows the door, whatever the address."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pages.test_app import ROOT, _answers, _first_run
from tests.supastub.rig import Project


@pytest.fixture
def server(project: Project, tmp_path: Path) -> Iterator[str]:
    """A fresh server that no session has visited; yields host:port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    environment = os.environ | project.environment() | {"LORA_STUDIO_HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "the app ended"
            assert time.monotonic() < deadline, "the app did not start"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def test_signed_out_every_address_is_the_door_and_signed_in_it_is_its_page(
    server: str, project: Project
) -> None:
    messages = _first_run(server, "/job?id=x")
    assert b"lora_studio_sign_in" in messages
    for word in (b"No runner online", b"No such job", b"Traceback", b"Sign out"):
        assert word not in messages, word

    anne = project.add_person(email="anne@studio.test")
    with httpx.Client(base_url=f"http://{server}", headers={"origin": f"http://{server}"}) as client:
        assert client.get("/job?id=x", headers={"accept": "text/html"}).status_code == 200
        assert client.get("/api/download/dataset/x").status_code == 401
        answer = client.post("/api/session", json={"email": anne.email, "password": anne.password})
        assert answer.status_code == 200
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        messages = _first_run(server, "/job?id=x", cookie)
        for word in (b"No such job", b"No runner online", b"anne@studio.test"):
            assert word in messages, word
        assert b"lora_studio_sign_in" not in messages
        assert client.get("/api/download/dataset/x").status_code == 404
        client.delete("/api/session")
    assert b"lora_studio_sign_in" in _first_run(server, "/job?id=x", cookie), (
        "the cookie is worth nothing now"
    )
