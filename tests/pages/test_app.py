"""The app as a process: what it loads, and that no page runs outside the frame."""

import ast
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "runpod", "bitsandbytes", "tokenizers")


def test_the_app_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import app, sys
import pages.frame.registry, pages.frame.sidebar
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
    environment = {**os.environ, "LORA_STUDIO_HOME": str(tmp_path)}
    imported = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.split() == []


def test_page_modules_only_define_render() -> None:
    """Streamlit serves the files of a pages folder by their path, past the frame; ours do nothing when run so."""
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for path in (ROOT / "pages").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert is_text or isinstance(node, allowed), f"{path.name}:{node.lineno} acts when it is imported"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fresh server that no session has visited; yields host:port."""
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    environment = {**os.environ, "LORA_STUDIO_HOME": str(home)}
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


def test_a_fresh_server_runs_the_frame_and_not_the_page_file(server: str) -> None:
    """With the first request of its life at /job, Streamlit must run pages/frame/main.py and let it choose the page."""
    messages = _first_run(server, "/job?id=x")
    assert b"LoRA Studio" in messages, "the frame did not set the page config"
    assert b"No runner online" in messages, "the frame did not draw its sidebar"


def test_the_document_hands_out_the_session_and_the_routes_ask_for_it(server: str) -> None:
    assert httpx.get(f"http://{server}/api/download/dataset/x").status_code == 403
    with httpx.Client(base_url=f"http://{server}") as client:
        assert client.get("/job?id=x", headers={"accept": "text/html"}).status_code == 200
        assert client.get("/api/download/dataset/x").status_code == 404


def test_fonts_and_icons_come_from_the_app_itself(server: str) -> None:
    for name in ("Inter-Regular.otf", "Inter-Medium.otf", "Inter-SemiBold.otf", "OFL.txt", "favicon.svg"):
        assert httpx.get(f"http://{server}/app/static/{name}").status_code == 200


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _first_run(server: str, path: str, cookie: str = "") -> bytes:
    """Do what a browser does on opening a page; return all that the first script run sent."""
    query = BackMsg()
    query.rerun_script.query_string = path.partition("?")[2]
    query.rerun_script.page_name = path.partition("?")[0].strip("/")
    received = b""
    with connect(
        f"ws://{server}/_stcore/stream",
        origin=f"http://{server}",
        subprotocols=["streamlit"],
        additional_headers={"cookie": cookie} if cookie else None,
        max_size=None,
    ) as socket_:
        socket_.send(query.SerializeToString())
        while True:
            content = socket_.recv(timeout=60)
            message = ForwardMsg.FromString(content)
            received += content
            if message.WhichOneof("type") == "script_finished":
                return received
