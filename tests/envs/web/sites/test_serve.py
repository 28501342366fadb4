"""An application served to one environment: it keeps its name, has data to itself, and a reset puts them back."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentgym.envs.web.site import Answer, Request
from agentgym.envs.web.sites.application import Application, seed_folder
from agentgym.envs.web.sites.serve import MAX_BODY, AppSite
from agentgym.errors import WorldError


def notebook(folder: Path) -> Callable[..., Iterable[bytes]]:
    """GET answers the note, the query and the cookie; POST replaces the note."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        note = folder / "data" / "note"
        if environ["REQUEST_METHOD"] == "POST":
            note.write_bytes(environ["wsgi.input"].read())
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("a bug of the application")
        start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        said = (note.read_text(), environ["QUERY_STRING"], environ.get("HTTP_COOKIE", ""), environ["HTTP_HOST"])
        return ["|".join(said).encode()]

    return app


def first_note(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "note").write_text("hello")


NOTEBOOK = Application(
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
def site() -> Iterator[AppSite]:
    site = AppSite(NOTEBOOK)
    yield site
    site.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def ask(site: AppSite, path: str, body: bytes | None = None) -> Answer:
    answer: Answer = run(site.answer(Request("GET" if body is None else "POST", site.origin + path, {}, body or b"")))
    return answer


def test_the_application_sees_its_virtual_name(site: AppSite) -> None:
    assert ask(site, "/page?a=1").body == b"hello|a=1||notebook.test"


def test_several_cookies_arrive(site: AppSite) -> None:
    assert ask(site, "/").headers["set-cookie"] == "a=1\nb=2"


def test_reset_puts_the_data_back(site: AppSite) -> None:
    ask(site, "/", b"changed")
    assert site.digest() == "changed"
    run(site.reset(None))
    assert site.digest() == "hello"
    assert ask(site, "/").body.startswith(b"hello")


def test_two_copies_share_nothing(site: AppSite) -> None:
    other = AppSite(NOTEBOOK)
    try:
        ask(site, "/", b"mine")
        assert other.digest() == "hello"
    finally:
        other.close()


def test_the_first_request_of_an_episode_is_signed_in() -> None:
    site = AppSite(replace(NOTEBOOK, login=lambda app: {"session": "xyz"}))
    try:
        run(site.reset(None))
        first, second = ask(site, "/"), ask(site, "/")
        assert b"session=xyz" in first.body
        assert first.headers["set-cookie"].splitlines()[0].startswith("session=xyz; Path=/")
        assert b"session" not in second.body  # from here on the browser knows: it may also sign out
    finally:
        site.close()


def visits(folder: Path) -> Callable[..., Iterable[bytes]]:
    """Counts requests in the note; /late answers differently every time."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        note = folder / "data" / "note"
        seen = note.read_text().removeprefix("hello")
        note.write_text(f"hello{seen}{environ['PATH_INFO']}")
        start_response("404 Not Found" if environ["PATH_INFO"] == "/none" else "200 OK", [("X-Seen", seen)])
        return [f"{seen} {environ.get('HTTP_COOKIE', '')}".encode()]

    return app


def opening(site: AppSite, *paths: str, start: str = "/") -> list[Answer]:
    """An episode's begin, as the world goes about it; what the page got."""

    async def begin() -> list[Answer]:
        site.opens(site.origin + start)
        await site.reset(None)
        urls = [site.origin + path for path in paths]
        got = [site.known("GET", url) or await site.answer(Request("GET", url)) for url in urls]
        site.opened()
        return got

    return run(begin())


def test_an_opening_is_played_once_and_told_from_then_on() -> None:
    site = AppSite(replace(NOTEBOOK, app=visits, login=lambda app: {"session": "xyz"}))
    try:
        first = opening(site, "/", "/script.js")
        assert site.digest() == "hello//script.js"
        assert b"session=xyz" in first[0].body
        ask(site, "/act")
        assert site.known("GET", site.origin + "/") is None, "the agent acts: the application is asked"
        assert opening(site, "/script.js", "/") == first[::-1], "in any order"
        assert site.digest() == "hello//script.js", "the data stand as after the first"
        ask(site, "/act")
        assert site.digest() == "hello//script.js/act"
        elsewhere = opening(site, "/other", start="/other")
        assert site.digest() == "hello/other", "another first page has an opening of its own"
        assert elsewhere[0].headers["set-cookie"].startswith("session=xyz")
    finally:
        site.close()


@pytest.mark.parametrize("paths", [("/script.js",), ("/", "/none"), ("/", "/again", "/again")])
def test_an_opening_that_cannot_be_told_again_is_played_again(paths: tuple[str, ...]) -> None:
    """One without its first page, with an error, or with two answers to the same question."""
    site = AppSite(replace(NOTEBOOK, app=visits))
    try:
        for _ in range(2):
            assert opening(site, *paths)[-1].headers["x-seen"] == "".join(paths[:-1])
            assert site.digest() == "hello" + "".join(paths)
    finally:
        site.close()


def test_an_opening_with_a_script_of_its_own_is_played_again() -> None:
    """Whose first page has no name, since the script may ask for other things every time."""
    site = AppSite(replace(NOTEBOOK, app=visits))
    try:
        for _ in range(2):
            site.opens("")
            run(site.reset(None))
            assert site.known("GET", site.origin + "/") is None
            assert ask(site, "/").headers["x-seen"] == ""
            site.opened()
    finally:
        site.close()


def test_an_opening_that_writes_is_played_again() -> None:
    site = AppSite(NOTEBOOK)
    try:
        for _ in range(2):
            site.opens(site.origin + "/")
            run(site.reset(None))
            assert ask(site, "/").body.startswith(b"hello")
            ask(site, "/", b"changed")
            site.opened()
            assert site.digest() == "changed"
    finally:
        site.close()


def test_a_bug_of_the_application_is_an_answer(site: AppSite) -> None:
    assert ask(site, "/broken").status == 500
    assert site.faults == ["RuntimeError: a bug of the application"]
    assert ask(site, "/").status == 200


def test_large_bodies_are_refused(site: AppSite) -> None:
    assert ask(site, "/", b"x" * (MAX_BODY + 1)).status == 413
    assert site.digest() == "hello"


def slow_notebook(entered: threading.Event, go_on: threading.Event) -> Application:
    def app(folder: Path) -> Callable[..., Iterable[bytes]]:
        inner = notebook(folder)

        def waits(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            entered.set()
            assert go_on.wait(10)
            return inner(environ, start_response)

        return waits

    return replace(NOTEBOOK, app=app)


def test_a_reset_waits_for_requests_under_way() -> None:
    entered, go_on = threading.Event(), threading.Event()
    site = AppSite(slow_notebook(entered, go_on))

    async def both() -> None:
        late = asyncio.ensure_future(site.answer(Request("POST", site.origin + "/", {}, b"late")))
        await asyncio.to_thread(entered.wait, 10)
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await site.reset(None)
        await late

    run(both())
    assert site.digest() == "hello"
    site.close()


def test_a_request_that_never_ends_breaks_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.envs.web.sites.serve.IDLE_SECONDS", 0.05)
    entered, go_on = threading.Event(), threading.Event()
    site = AppSite(slow_notebook(entered, go_on))

    async def both() -> None:
        late = asyncio.ensure_future(site.answer(Request("GET", site.origin + "/", {}, b"")))
        await asyncio.to_thread(entered.wait, 10)
        try:
            with pytest.raises(WorldError, match="cannot be put back"):
                await site.reset(None)
        finally:
            go_on.set()
            await late

    run(both())
    site.close()


def counted(served: list[str], **changes: Any) -> Application:
    """The notebook, writing down what it is asked for."""

    def app(folder: Path) -> Callable[..., Iterable[bytes]]:
        inner = notebook(folder)

        def counts(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            served.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            if environ["PATH_INFO"].startswith("/static/"):
                found = environ["PATH_INFO"] != "/static/none"
                start_response("200 OK" if found else "404 Not Found", [("Content-Type", "text/css")])
                return [b"body{}"]
            return inner(environ, start_response)

        return counts

    return replace(NOTEBOOK, app=app, static=("/static/",), **changes)


def test_what_never_changes_is_asked_for_once_and_nothing_else_is_kept() -> None:
    served: list[str] = []
    site = AppSite(counted(served))
    try:
        style = site.origin + "/static/style.css"
        assert site.known("GET", style) is None
        answer = ask(site, "/static/style.css")
        assert site.known("GET", style) == answer
        assert site.known("POST", style) is None
        for path in ("/", "/static/none"):  # what may change, and what is not there
            ask(site, path)
            assert site.known("GET", site.origin + path) is None
        run(site.reset(None))
        assert site.known("GET", style) == answer
        assert served == ["GET /static/style.css", "GET /", "GET /static/none"]
    finally:
        site.close()


def test_signing_in_comes_before_what_is_kept() -> None:
    site = AppSite(counted([], login=lambda app: {"session": "xyz"}))
    try:
        run(site.reset(None))
        assert "session=xyz" in ask(site, "/static/style.css").headers["set-cookie"]
        assert site.known("GET", site.origin + "/static/style.css") is None  # it would sign others in
        ask(site, "/static/style.css")
        assert site.known("GET", site.origin + "/static/style.css") is not None
    finally:
        site.close()


def test_the_state_is_read_again_exactly_when_the_data_change() -> None:
    reads: list[Path] = []

    def build(folder: Path) -> None:
        (folder / "data").mkdir()
        with sqlite3.connect(folder / "data" / "book.db") as book:
            book.execute("pragma journal_mode = wal")
            book.execute("create table entries (text)")
        book.close()

    def read(folder: Path) -> Any:
        reads.append(folder)
        book = sqlite3.connect(f"file:{folder / 'data' / 'book.db'}?mode=ro", uri=True)
        found = book.execute("select text from entries").fetchall()
        book.close()
        return found

    # the folder and not the file: reading leaves the log and its index beside the database
    site = AppSite(replace(NOTEBOOK, name="book", build=build, read=read))
    try:
        assert site.digest() == site.digest() == site.digest() == []
        assert len(reads) == 1
        book = sqlite3.connect(site.data / "data" / "book.db")
        book.execute("insert into entries values ('written')")
        book.commit()  # into the log: the database itself is as it was
        assert site.digest() == site.digest() == [("written",)]
        assert len(reads) == 2
        book.close()
        run(site.reset(None))
        assert site.digest() == []
    finally:
        site.close()


def test_closing_leaves_no_folder(site: AppSite) -> None:
    site.close()
    assert not site.data.exists()


def test_an_asgi_application_is_served_too() -> None:
    def asgi(folder: Path) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = (folder / "data" / "note").read_bytes() + scope["path"].encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": body})

        return app

    site = AppSite(replace(NOTEBOOK, app=asgi, asgi=True))
    try:
        assert ask(site, "/there").body == b"hello/there"
    finally:
        site.close()


def test_a_build_cut_short_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_folder(replace(NOTEBOOK, name="torn", build=build))
    assert os.listdir(tmp_path / "cache" / "sites") == []


def test_what_was_added_removed_and_rewritten_is_put_back(site: AppSite) -> None:
    """Also a file that has kept its length, and a folder in a file's place."""
    folder = site.data / "data"
    (folder / "deep").mkdir()
    (folder / "deep" / "new").write_text("new")
    (folder / "note").write_text("jello")
    run(site.reset(None))
    assert [f.name for f in folder.rglob("*")] == ["note"]
    assert site.digest() == "hello"
    (folder / "note").unlink()
    (folder / "note").mkdir()
    run(site.reset(None))
    assert site.digest() == "hello"
