"""The shop's state, read from its database beside the application: what checks compare, out of the agent's reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FILE", "Facts", "Key", "changes", "read"]

FILE = "shop.db"
Key = tuple[str, str]
"""(kind, key): a line of the basket or wish list by upc, an order by its place, an address by its lines, …"""
Facts = Mapping[Key, Any]
"""What is so of the customer's account; plain values, so that equal states are equal."""


def read(data: Path) -> Facts:
    """The facts in a shop's folder (see `server.build`)."""
    database = sqlite3.connect(f"file:{data / FILE}?mode=ro", uri=True)
    try:
        return dict(_read(database))
    finally:
        database.close()


def changes(start: Facts, now: Facts) -> Mapping[Key, Any]:
    """Every fact that differs, with its value now; None where it is gone."""
    return {key: now.get(key) for key in sorted({*start, *now}) if start.get(key) != now.get(key)}


# ---------------------------------------------------------------------- inside


def _read(database: sqlite3.Connection) -> Iterator[tuple[Key, Any]]:
    (customer, first, last, email, password), *_ = database.execute(
        "select id, first_name, last_name, email, password from auth_user where username = 'quinn'"
    )
    yield ("account", "name"), (first, last)
    yield ("account", "email"), email
    yield ("account", "password"), password  # as stored: changed or not is all that it tells
    for upc, count in database.execute(
        "select p.upc, sum(l.quantity) from basket_line l join basket_basket b on b.id = l.basket_id "
        "join catalogue_product p on p.id = l.product_id where b.owner_id = ? and b.status = 'Open' group by p.upc",
        (customer,),
    ):
        yield ("basket", upc), count
    for upc, count in database.execute(
        "select p.upc, sum(l.quantity) from wishlists_line l join wishlists_wishlist w on w.id = l.wishlist_id "
        "join catalogue_product p on p.id = l.product_id where w.owner_id = ? group by p.upc",
        (customer,),
    ):
        yield ("wish", upc), count
    for name, count in database.execute(
        "select name, count(*) from wishlists_wishlist where owner_id = ? group by name", (customer,)
    ):
        yield ("list", name), count
    for line, count in database.execute(
        f"select {_ADDRESS} as a, count(*) from address_useraddress where user_id = ? group by a", (customer,)
    ):
        yield ("address", line), count
    ordered = f"select o.id, {_ADDRESS} from order_order o left join order_shippingaddress s"
    placed = database.execute(
        f"{ordered} on s.id = o.shipping_address_id where o.user_id = ? order by o.id", (customer,)
    )
    for number, (order, address) in enumerate(placed.fetchall(), 1):
        lines = database.execute("select upc, sum(quantity) from order_line where order_id = ? group by upc", (order,))
        yield ("order", str(number)), (tuple(sorted(lines)), address)
    for upc, score, title, body in database.execute(
        "select p.upc, r.score, r.title, r.body from reviews_productreview r "
        "join catalogue_product p on p.id = r.product_id where r.user_id = ?",
        (customer,),
    ):
        yield ("review", upc), (score, title, body)


_ADDRESS = "first_name || ' ' || last_name || ', ' || line1 || ', ' || line4 || ', ' || postcode"
