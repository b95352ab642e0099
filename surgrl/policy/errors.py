"""The one kind of error that a user's mistake raises: told in a line, never as a traceback."""


class UserError(Exception):
    """Says what is wrong (thing and value), what is allowed, and how to mend it."""
