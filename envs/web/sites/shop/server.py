"""Fills the shop and serves it: django-oscar's own code and templates, with a clock that stands still."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from agentgym.envs.web.sites.application import Application
from agentgym.envs.web.sites.shop import content
from agentgym.envs.web.sites.shop.content import CUSTOMER, EMAIL, ORIGIN, PASSWORD, PRODUCTS
from agentgym.envs.web.sites.shop.state import FILE, read
from agentgym.errors import MissingExtra, UsageError

__all__ = ["NOW", "SHOP"]

NOW = datetime.datetime(2024, 5, 13, 9, 30, tzinfo=datetime.UTC)
"""When everything happens."""

_HERE = "agentgym.envs.web.sites.shop"
_URLS = f"{_HERE}.urls"
_SEED = (content.PRODUCTS, content.BASKET, content.WISHES, content.ADDRESSES, content.ORDERS, content.REVIEWS)
_VERSION = hashlib.sha256(repr((1, _SEED, content.PLANTED)).encode()).hexdigest()[:12]
"""Of the seed data: changes with the content, and by hand when `build` does."""


def build(folder: Path) -> None:
    """Make the database in an empty folder and write `content` into it."""
    _start()
    from django.core.management import call_command

    with _at(folder):
        call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)
        _fill()


def app(folder: Path) -> Callable[..., Iterable[bytes]]:
    """The WSGI application over a copy of that folder."""
    _start()
    from django.core.handlers.wsgi import WSGIHandler

    handler = WSGIHandler()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/static/"):
            return _static(path, start_response)
        with _at(folder):
            response = handler(environ, start_response)
            try:
                return [b"".join(response)]
            finally:
                response.close()

    return answer


def login(app: Any) -> Mapping[str, str]:
    """A session of the customer, as the shop's own form would begin it; returns its cookie."""
    from werkzeug.http import parse_cookie
    from werkzeug.test import Client

    browser = Client(app)
    page = browser.get("/accounts/login/", base_url=ORIGIN)
    token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    form = {"login-username": EMAIL, "login-password": PASSWORD, "login_submit": "1", "csrfmiddlewaretoken": token}
    answer = browser.post("/accounts/login/", base_url=ORIGIN, data=form, headers={"Referer": ORIGIN})
    cookies: dict[str, str] = {}
    for value in answer.headers.getlist("Set-Cookie"):
        cookies |= {k: v for k, v in parse_cookie(value.split(";")[0]).items() if k == "sessionid"}
    if not cookies:
        raise UsageError(f"signing in to the shop failed: it answered {answer.status!r} without a session")
    return cookies


SHOP = Application("shop", _VERSION, build, app, read, mutable=(FILE,), login=login, static=("/static/",))
"""The shop. Its folder holds the database and nothing else."""


class _NoMigrations:
    """Every application's tables are made as its models are now: a tenth of the time that their history takes."""

    def __contains__(self, application: str) -> bool:
        return True

    def __getitem__(self, application: str) -> None:
        return None


class AsItIs:
    """Oscar's thumbnailer: no product has a picture, and all show the same one."""

    def generate_thumbnail(self, source: Any, **options: Any) -> Any:
        """The placeholder that comes with Oscar."""
        return SimpleNamespace(url="/static/oscar/img/image_not_found.jpg", width=100, height=100)

    def delete_thumbnails(self, source: Any) -> None:
        """There are none."""


# ---------------------------------------------------------------------- inside


def _start() -> None:
    """Set Django up, once a process.

    Raises:
        MissingExtra: django-oscar is not installed.
        UsageError: this process runs another Django project.
    """
    try:
        import oscar
        from django.apps import apps
        from django.conf import settings
        from oscar import defaults
    except ImportError as error:
        raise MissingExtra("django-oscar", "web") from error
    if settings.configured:
        if getattr(settings, "ROOT_URLCONF", None) != _URLS:
            raise UsageError("this process has set up another Django project; the shop needs a process of its own")
        return
    chosen = {name: getattr(defaults, name) for name in dir(defaults) if name.startswith("OSCAR")}
    context = ("request", "debug", "i18n", "media", "static")
    settings.configure(
        **chosen
        | {
            "MIGRATION_MODULES": _NoMigrations(),
            "OSCAR_SHOP_NAME": "Shop",
            "OSCAR_SHOP_TAGLINE": "",
            "OSCAR_DEFAULT_CURRENCY": "GBP",
            "OSCAR_THUMBNAILER": f"{_HERE}.server.AsItIs",
            "OSCAR_RECENTLY_VIEWED_PRODUCTS": 0,  # pages do not depend on the way to them
            "OSCAR_SEND_REGISTRATION_EMAIL": False,
            "OSCAR_SAVE_SENT_EMAILS_TO_DB": False,
            "OSCAR_ALLOW_ANON_REVIEWS": False,
            "OSCAR_MODERATE_REVIEWS": False,
            "OSCAR_PRODUCTS_PER_PAGE": 12,
        },
        SECRET_KEY="the data are worth nothing",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=_URLS,
        INSTALLED_APPS=[a for a in oscar.INSTALLED_APPS if a != "django.contrib.admin"],
        SITE_ID=1,
        USE_TZ=True,
        TIME_ZONE="UTC",
        LANGUAGE_CODE="en-gb",
        LANGUAGES=[("en-gb", "English")],
        STATIC_URL="/static/",
        DATABASES={
            "default": {
                "ENGINE": f"{_HERE}.database",
                "NAME": "the copy's own",  # see `database`
                "OPTIONS": {"init_command": "pragma synchronous = off"},  # a copy outlives no loss of power
            }
        },
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        HAYSTACK_CONNECTIONS={"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}},
        EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # worth nothing, and quick
        AUTHENTICATION_BACKENDS=["oscar.apps.customer.auth_backends.EmailBackend"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        LOGGING_CONFIG=None,
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [str(Path(__file__).parent / "templates")],  # nothing comes from elsewhere
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        *(f"django.template.context_processors.{name}" for name in context),
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                        "oscar.apps.search.context_processors.search_form",
                        "oscar.apps.checkout.context_processors.checkout",
                        "oscar.apps.communication.notifications.context_processors.notifications",
                        "oscar.core.context_processors.metadata",
                    ]
                },
            }
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "oscar.apps.basket.middleware.BasketMiddleware",
        ],
    )
    from django.utils import timezone

    timezone.now = lambda: NOW
    apps.populate(settings.INSTALLED_APPS)


@contextmanager
def _at(folder: Path) -> Iterator[None]:
    """The database of this folder, for as long as it lasts."""
    from django.db import connections

    from agentgym.envs.web.sites.shop.database import base

    token = base.folder.set(folder)
    try:
        yield
    finally:
        connections.close_all()
        base.folder.reset(token)


def _static(path: str, start_response: Any) -> Iterable[bytes]:
    """A file that comes with Oscar."""
    import mimetypes

    from django.contrib.staticfiles import finders

    found = finders.find(path.removeprefix("/static/"))
    if not isinstance(found, str) or not Path(found).is_file():
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not found"]
    kind = mimetypes.guess_type(found)[0] or "application/octet-stream"
    start_response("200 OK", [("Content-Type", kind)])
    return [Path(found).read_bytes()]


def _fill() -> None:
    from django.contrib.auth import get_user_model
    from django.contrib.sites.models import Site
    from oscar.core.loading import get_model

    Country, Partner = get_model("address", "Country"), get_model("partner", "Partner")
    Category, Class = get_model("catalogue", "Category"), get_model("catalogue", "ProductClass")
    Product, Stock = get_model("catalogue", "Product"), get_model("partner", "StockRecord")
    Review, Wishes = get_model("reviews", "ProductReview"), get_model("wishlists", "WishList")
    UserAddress = get_model("address", "UserAddress")

    Site.objects.update_or_create(id=1, defaults={"domain": "shop.test", "name": "Shop"})
    country = Country.objects.create(
        iso_3166_1_a2="GB",
        iso_3166_1_a3="GBR",
        iso_3166_1_numeric="826",
        printable_name="United Kingdom",
        name="United Kingdom",
        is_shipping_country=True,
    )
    users = get_user_model().objects
    customer = users.create_user("quinn", EMAIL, PASSWORD, first_name=CUSTOMER[0], last_name=CUSTOMER[1])
    other = users.create_user("robin", "robin@shop.test", PASSWORD, first_name="Robin", last_name="Vale")
    partner = Partner.objects.create(name="Warehouse", code="warehouse")
    kind = Class.objects.create(name="Thing", slug="thing", requires_shipping=True, track_stock=True)
    categories = {
        name: Category.add_root(name=name, slug=name.lower().replace(" ", "-"))
        for name in dict.fromkeys(p.category for p in PRODUCTS)
    }
    made = {}
    for p in PRODUCTS:
        made[p.upc] = Product.objects.create(
            upc=p.upc, title=p.title, description=p.text, product_class=kind, structure="standalone"
        )
        made[p.upc].categories.add(categories[p.category])
        Stock.objects.create(
            product=made[p.upc],
            partner=partner,
            partner_sku=p.upc,
            price_currency="GBP",
            price=Decimal(p.price),
            num_in_stock=p.stock,
        )
    reviews = [*content.REVIEWS, *((upc, 4, title, text) for upc, (_, title, text) in content.PLANTED.items())]
    for upc, stars, title, text in reviews:
        Review.objects.create(
            product=made[upc], score=stars, title=title, body=text, user=other, status=Review.APPROVED
        )
    for first, last, line1, town, postcode in content.ADDRESSES:
        UserAddress.objects.create(
            user=customer,
            first_name=first,
            last_name=last,
            line1=line1,
            line4=town,
            postcode=postcode,
            country=country,
        )
    wishes = Wishes.objects.create(owner=customer, name="Garden")
    for upc in content.WISHES:
        wishes.add(made[upc])
    for lines in content.ORDERS:
        _order(customer, {made[upc]: count for upc, count in lines.items()})
    basket = _basket(customer)
    for upc, count in content.BASKET.items():
        basket.add_product(made[upc], count)


def _basket(customer: Any) -> Any:
    from oscar.apps.partner.strategy import Default
    from oscar.core.loading import get_model

    basket = get_model("basket", "Basket").objects.create(owner=customer)
    basket.strategy = Default()
    return basket


def _order(customer: Any, lines: Mapping[Any, int]) -> None:
    """An order of an earlier day, made by Oscar's own code."""
    from oscar.apps.order.utils import OrderCreator, OrderNumberGenerator
    from oscar.apps.shipping.methods import Free
    from oscar.core.loading import get_model
    from oscar.core.prices import Price

    basket = _basket(customer)
    for product, count in lines.items():
        basket.add_product(product, count)
    address = get_model("order", "ShippingAddress")()
    get_model("address", "UserAddress").objects.filter(user=customer).first().populate_alternative_model(address)
    address.save()
    OrderCreator().place_order(
        basket=basket,
        total=Price("GBP", basket.total_excl_tax, basket.total_incl_tax),
        user=customer,
        shipping_method=Free(),
        shipping_charge=Price("GBP", Decimal(0), Decimal(0)),
        shipping_address=address,
        order_number=OrderNumberGenerator().order_number(basket),
        status="Sent",
    )
    basket.submit()
