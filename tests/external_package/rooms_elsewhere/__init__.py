"""A lamp in a room: what a third party writes to add an environment, and all of it."""
