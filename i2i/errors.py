"""What a user did wrong, in one sentence: the value, the rule, the remedy."""


class UserError(ValueError):
    """An error of input, not of code. The command line prints its text, no traceback, and exits with status 1."""
