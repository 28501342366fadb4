"""Roundup, an issue tracker, as a site: real application, real database, a copy for every environment."""
