"""One small family of errors; every message says what was given, what was needed, and what to do."""


class InstructSegError(Exception):
    """Base of every error this package raises on purpose: catch it to show a one-line message."""


class InputError(InstructSegError, ValueError):
    """A photo, video, instruction or option that the user handed in cannot be used as it is."""


class DataError(InstructSegError):
    """A dataset on disk is missing, incomplete or broken; the message names the file or sample."""


class CheckpointError(InstructSegError):
    """Weights or a training checkpoint cannot be found, read or fitted to the model."""


class RecipeError(InstructSegError, ValueError):
    """A training recipe has an unknown key, a wrong type or a value out of range."""
