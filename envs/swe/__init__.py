"""Repairing software: a repository in a sandbox, tools to read, edit and run it, and tests the agent never sees."""
