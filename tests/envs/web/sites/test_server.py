"""A site served to one environment: only it can be reached, and a reset brings back what was there."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentgym.envs.web.sites.server import MAX_BODY, SiteServer
from agentgym.envs.web.sites.site import Site, seed_folder


def notebook(folder: Path) -> Callable[..., Iterable[bytes]]:
    """GET answers the note and the query, POST replaces the note."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        note = folder / "data" / "note"
        if environ["REQUEST_METHOD"] == "POST":
            note.write_bytes(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("a bug of the application")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [note.read_bytes() + b"|" + environ["QUERY_STRING"].encode() + b"|" + environ["HTTP_HOST"].encode()]

    return app


def first_note(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "note").write_text("hello")


NOTEBOOK = Site(
    name="notebook",
    version="1",
    build=first_note,
    app=notebook,
    read=lambda folder: (folder / "data" / "note").read_text(),
    mutable=("data",),
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server() -> Iterator[SiteServer]:
    server = SiteServer(NOTEBOOK)
    yield server
    server.close()


def ask(server: SiteServer, target: str, body: bytes | None = None, host: str = "notebook.test") -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.proxy.removeprefix("http://"), timeout=10)
    connection.request("GET" if body is None else "POST", target, body, {"Host": host})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def test_the_site_keeps_its_name_whatever_the_port(server: SiteServer) -> None:
    assert ask(server, "http://notebook.test/page?a=1") == (200, "hello|a=1|notebook.test")


@pytest.mark.parametrize(
    "target", ["http://elsewhere.test/x", "http://127.0.0.1/", "/page", "http://notebook.test:81/"]
)
def test_other_places_are_refused_and_written_down(server: SiteServer, target: str) -> None:
    assert ask(server, target)[0] == 403
    assert len(server.take_blocked()) == 1
    assert server.take_blocked() == ()


def test_encrypted_connections_elsewhere_are_refused(server: SiteServer) -> None:
    connection = http.client.HTTPConnection(server.proxy.removeprefix("http://"), timeout=10)
    connection.set_tunnel("elsewhere.test", 443)
    with pytest.raises(OSError, match="403"):
        connection.request("GET", "/")
    assert server.take_blocked() == ("CONNECT elsewhere.test:443",)


def test_reset_brings_the_seed_back(server: SiteServer) -> None:
    ask(server, "http://notebook.test/", b"changed")
    assert server.state() == "changed"
    server.reset()
    assert server.state() == "hello"
    assert ask(server, "http://notebook.test/")[1].startswith("hello|")


def test_two_servers_share_nothing(server: SiteServer) -> None:
    other = SiteServer(NOTEBOOK)
    try:
        ask(server, "http://notebook.test/", b"mine")
        assert other.state() == "hello"
    finally:
        other.close()


def test_a_fault_of_the_application_is_an_answer(server: SiteServer) -> None:
    assert ask(server, "http://notebook.test/broken")[0] == 500
    assert ask(server, "http://notebook.test/")[0] == 200


def test_large_bodies_are_refused(server: SiteServer) -> None:
    assert ask(server, "http://notebook.test/", b"x" * (MAX_BODY + 1))[0] == 413
    assert server.state() == "hello"


def test_a_reset_waits_for_requests_in_flight(tmp_path: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(folder: Path) -> Callable[..., Iterable[bytes]]:
        inner = notebook(folder)

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            entered.set()
            assert go_on.wait(10)
            return inner(environ, start_response)

        return app

    server = SiteServer(Site("notebook", "slow", first_note, slow, NOTEBOOK.read, ("data",)))
    try:
        writer = threading.Thread(target=ask, args=(server, "http://notebook.test/", b"late"))
        writer.start()
        assert entered.wait(10)
        threading.Timer(0.05, go_on.set).start()
        server.reset()
        writer.join()
        assert server.state() == "hello"
    finally:
        server.close()


def test_closing_leaves_no_folder_and_no_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = SiteServer(NOTEBOOK)
    folder = server.data.parent
    server.close()
    assert not folder.exists()
    with pytest.raises(ConnectionError):
        ask(server, "http://notebook.test/")


def test_a_build_cut_short_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_folder(Site("torn", "1", build, notebook, NOTEBOOK.read, ()))
    assert os.listdir(tmp_path / "cache" / "sites") == []
