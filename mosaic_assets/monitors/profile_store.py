"""Where the profiles lie: one ``.bin`` for each window, slice and model version, beside the monitor's tables."""

from typing import Any

from pyarrow import fs

from mosaic_assets.monitors.profiles import Profile
from mosaic_assets.monitors.windows import Slice
from mosaic_resources.errors import UserError

__all__ = ["ProfileStore"]


class ProfileStore:
    """Profiles by window and slice in a folder or bucket.

    Args:
        root: Folder or address, usually the address of the monitor's profile table with ``_profiles`` behind it.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        here: tuple[Any, str] = (fs.LocalFileSystem(), self.root)
        place: tuple[Any, str] = fs.FileSystem.from_uri(self.root) if "://" in root else here
        self._fs, self._base = place

    def address(self, rows: Slice) -> str:
        """Returns where the profile lies, for people and for ``whylogs.read``."""
        return f"{self.root}/{rows.path}"

    def write(self, rows: Slice, profile: Profile) -> str:
        """Puts a profile in place, whole or not at all, and returns its address."""
        target = f"{self._base}/{rows.path}"
        self._fs.create_dir(target.rpartition("/")[0], recursive=True)
        draft = f"{target}.draft"
        with self._fs.open_output_stream(draft) as out:
            out.write(profile.to_bytes())
        self._fs.move(draft, target)
        return self.address(rows)

    def read(self, rows: Slice) -> Profile:
        """Returns a profile.

        Raises:
            UserError: There is none, or the file is damaged.
        """
        found = self.read_if_there(rows)
        if found is None:
            raise UserError("There is no such profile.", self.address(rows), "Materialize its window first.")
        return found

    def read_if_there(self, rows: Slice) -> Profile | None:
        """Returns a profile, or None where its window was never profiled.

        Raises:
            UserError: The file is damaged.
        """
        try:
            with self._fs.open_input_file(f"{self._base}/{rows.path}") as file:
                return Profile.from_bytes(file.read(), self.address(rows))
        except FileNotFoundError:
            return None
