"""Exceptions of this package. Each message states what was expected, what was passed, and how to fix it."""


class InstructSegError(Exception):
    """Base class of all errors below; catch it to print a one-line message."""


class InputError(InstructSegError, ValueError):
    """A photo, clip, instruction or option that the user passed cannot be used."""


class DataError(InstructSegError):
    """A dataset on disk is missing, incomplete or damaged; the message names the file or the sample."""


class CheckpointError(InstructSegError):
    """Weights or a training checkpoint are missing, damaged, or do not fit the model."""


class RecipeError(InstructSegError, ValueError):
    """A training recipe has an unknown key, a value of the wrong type, or a value out of range."""
