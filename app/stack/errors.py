"""What goes wrong with the local stack."""


class StackError(Exception):
    """The local stack cannot do what was asked; the message is one line and names a way out."""
