"""Installs the tracker, fills it, serves it: Roundup's own code, with a clock that stands still."""

from __future__ import annotations

import datetime
import hashlib
import re
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from werkzeug.http import parse_cookie
from werkzeug.test import Client

from agentgym.envs.web.sites.application import Application
from agentgym.envs.web.sites.roundup.content import AGENT, ISSUES, KEYWORDS, ORIGIN, PASSWORD, USERS
from agentgym.envs.web.sites.roundup.state import read
from agentgym.errors import MissingExtra, WorldError

__all__ = ["NOW", "ROUNDUP"]

NOW = datetime.datetime(2024, 5, 13, 9, 30, tzinfo=datetime.UTC)
"""When everything happens: the tracker's clock, so that pages repeat."""

_ORIGIN = f"{ORIGIN}/"
_VERSION = hashlib.sha256(repr((2, USERS, KEYWORDS, ISSUES)).encode()).hexdigest()[:12]
"""Of the seed data: changes with the content, and by hand when `build` does."""


def build(folder: Path) -> None:
    """Install Roundup's classic template in an empty folder and write `content` into it."""
    configuration, init, instance, password = _roundup()
    config = configuration.CoreConfig()
    for name, value in {
        "TRACKER_HOME": str(folder),
        "TRACKER_NAME": "Tracker",
        "TRACKER_WEB": _ORIGIN,
        "MAIL_DOMAIN": "tracker.test",
        "MAILHOST": "localhost",
        "DATABASE": "db",
        "RDBMS_BACKEND": "sqlite",
        "INDEXER": "native",  # without this every request looks for two others
        # the account is worth nothing, and hashing must not make the start slow
        "PASSWORD_PBKDF2_DEFAULT_ROUNDS": 1000,
    }.items():
        config[name] = value
    init.install(str(folder), str(_template()))
    (folder / "detectors" / "nosyreaction.py").unlink()  # it would send mail
    config.save(str(folder / config.INI_FILE))
    tracker = instance.open(str(folder))
    _stop_the_clock()
    tracker.init(password.Password("admin-password", config=config))
    for name in USERS:
        with _open(tracker, "admin") as db:
            secret = password.Password(PASSWORD if name == AGENT else f"{name}-password", config=config)
            db.user.create(username=name, password=secret, address=f"{name}@tracker.test", roles="User")
    with _open(tracker, "admin") as db:
        for keyword in KEYWORDS:
            db.keyword.create(name=keyword)
    for seed in ISSUES:
        with _open(tracker, seed.creator) as db:
            notes = [
                db.msg.create(author=db.getuid(), content=text, summary=text, date=_now(), recipients=[])
                for text in seed.notes
            ]
            db.issue.create(
                title=seed.title,
                priority=db.priority.lookup(seed.priority),
                status=db.status.lookup(seed.status),
                keyword=[db.keyword.lookup(k) for k in seed.keywords],
                assignedto=db.user.lookup(seed.assigned) if seed.assigned else None,
                messages=notes,
                nosy=[db.getuid()],
            )


def app(folder: Path) -> Callable[..., Iterable[bytes]]:
    """The WSGI application over a tracker's folder."""
    _roundup()
    _stop_the_clock()
    from roundup.cgi.wsgi_handler import RequestDispatcher

    dispatch: Callable[..., Iterable[bytes]] = RequestDispatcher(str(folder))
    return dispatch


def login(app: Any) -> Mapping[str, str]:
    """Sign `AGENT` in through the application's own form; returns the session's cookie."""
    browser = Client(app)
    page = browser.get("/", base_url=_ORIGIN)
    token = re.search(r'name="@csrf"[^>]*?value="([^"]+)"', page.text)
    if token is None:
        raise WorldError("the tracker's front page has no sign-in form; is this Roundup 2.6?")
    form = {"__login_name": AGENT, "__login_password": PASSWORD, "@action": "Login", "@csrf": token[1]}
    headers = {"Origin": _ORIGIN.rstrip("/"), "Referer": _ORIGIN}
    answer = browser.post("/", base_url=_ORIGIN, headers=headers, data=form | {"__came_from": _ORIGIN})
    cookies = [parse_cookie(value.split(";")[0]) for value in answer.headers.getlist("Set-Cookie")]
    if not cookies:
        raise WorldError(f"signing in to the tracker failed: it answered {answer.status!r} without a session")
    return {name: value for cookie in cookies for name, value in cookie.items()}


_STATIC = ("/@@file/", "/?%40template=translation&")
"""Files, and the words of a script in the one language there is."""

ROUNDUP = Application("tracker", _VERSION, build, app, read, mutable=("db",), login=login, static=_STATIC)
"""The issue tracker. Its folder's ``db`` holds database, messages, sessions; all the rest is never written to."""


# ---------------------------------------------------------------------- inside


def _roundup() -> tuple[Any, Any, Any, Any]:
    try:
        from roundup import configuration, init, instance, password
    except ImportError as error:
        raise MissingExtra("roundup", "web") from error
    return configuration, init, instance, password


def _template() -> Path:
    """Roundup's classic tracker template, wherever its wheel put it."""
    for file in metadata.files("roundup") or ():
        if file.name == "schema.py" and file.parent.name == "classic":
            return Path(str(file.locate())).resolve().parent
    path = Path(sysconfig.get_path("data")) / "share" / "roundup" / "templates" / "classic"
    if not path.is_dir():
        raise WorldError(f"Roundup's classic template is not installed (expected at {path}); reinstall roundup")
    return path


def _stop_the_clock() -> None:
    """Dates of the tracker are all `NOW`; sessions and time-outs go on by the real clock."""
    import roundup.date

    roundup.date.utcnow = _utcnow


def _utcnow() -> datetime.datetime:
    return NOW


def _now() -> Any:
    import roundup.date

    return roundup.date.Date(".")


class _open:
    """The tracker's database as a user; commits on leaving."""

    def __init__(self, tracker: Any, user: str) -> None:
        self._db = tracker.open(user)

    def __enter__(self) -> Any:
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.commit()
        self._db.close()
