"""The shop's addresses: all of Oscar's. Django asks this module for ``urlpatterns`` once its settings are made."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.apps import apps
from django.urls import include, path


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _patterns()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _patterns() -> list[Any]:
    return [
        path("i18n/", include("django.conf.urls.i18n")),
        path("", include(apps.get_app_config("oscar").urls[0])),
    ]
