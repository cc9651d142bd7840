"""How a validation ends when the model is to blame."""


class ModelRefusedError(Exception):
    """The model must not be served.

    Attributes:
        reasons: one sentence per defect: which signature, which request, expected and got.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = list(reasons)
