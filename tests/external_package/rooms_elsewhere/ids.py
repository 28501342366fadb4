"""The entry points. They name the environments without importing them."""

from agentgym import register


def register_rooms() -> None:
    register(
        "rooms/Lamp-v0",
        "rooms_elsewhere.lamp:make_lamp",
        family="rooms",
        summary="switch the lamp on, leave the stove alone",
    )


def register_nothing() -> None:
    raise LookupError("this one is broken on purpose")
