"""A Django database back-end: SQLite in the folder of whichever copy of the shop answers the request under way."""
