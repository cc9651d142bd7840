"""Which clients meet the canary: empty files in the serving directory that nginx looks for.

nginx asks the file system at every request, so a change holds from the next request on, without a
reload, for every nginx that sees the directory, in a container or on another machine. The files
follow from `canary.json` (serving/edge/canary.py) and can be made again from it at any time.
"""

from pathlib import Path

from serving.versions.directory_names import RECORDS
from serving.versions.permissions import Permissions

BUCKETS = 100
_PERMISSIONS = Permissions()


class Routes:
    """The files of one model's edge, in `<base>/.versions/edge/`.

    Attributes:
        pinned: while it is there, unlabelled requests ask for `stable` and not for the newest.
        canary: holds a file for each hundredth of the clients that ask for `canary`.
    """

    def __init__(self, base: Path) -> None:
        folder = base / RECORDS / "edge"
        self.pinned = folder / "pinned"
        self.canary = folder / "canary"

    def show(self, *, pinned: bool, percent: int) -> None:
        """Sends a share of the clients to `canary`, and the others to `stable` or the newest.

        At no moment does a client that belongs to `stable` meet the newest version instead.

        Raises:
            OSError: a file could not be made or removed; calling again completes it.
        """
        if pinned:
            self._set(self.pinned, True)
        for bucket in range(BUCKETS):
            self._set(self.canary / str(bucket), bucket < percent)
        if not pinned:
            self._set(self.pinned, False)

    def percent(self) -> int:
        """Returns the share of the clients that meet the canary."""
        return sum((self.canary / str(bucket)).exists() for bucket in range(BUCKETS))

    def _set(self, path: Path, wanted: bool) -> None:
        if path.exists() == wanted:
            return
        if wanted:
            _PERMISSIONS.make_folder(path.parent)
            path.touch()
            _PERMISSIONS.apply(path)
        else:
            path.unlink(missing_ok=True)
