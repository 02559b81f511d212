"""What can stand in the way of the live machine; each message is one line for the user."""


class MissingPartError(Exception):
    """This machine lacks something: a program, a package, a network, an image."""


class RequestError(Exception):
    """What was asked for does not exist or cannot be meant."""


class BoxError(Exception):
    """A box did not start, died, or did not answer."""
