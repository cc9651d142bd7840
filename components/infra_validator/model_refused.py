"""How a validation ends when the model is to blame."""


class ModelRefusedError(Exception):
    """The model must not be served.

    Attributes:
        reasons: one sentence per defect: which signature, which request, expected and got.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = list(reasons)


class MissedOnceError(ModelRefusedError):
    """What a busy machine may do to any model: too slow, too large, or a server that is gone.

    It is a verdict only when the next attempts end alike.
    """
