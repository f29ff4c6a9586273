"""A digest of the package's code as this process has loaded it."""

import hashlib
from pathlib import Path


def sources_digest(package: Path) -> str:
    """sha256 over the names and contents of all Python files beneath `package`."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()


# At import: a long sweep goes on with what it has loaded, whatever the files hold by then.
SOURCES_SHA256 = sources_digest(Path(__file__).resolve().parents[1])
"""The digest of ntkode itself: unlike a commit, it tells uncommitted changes, and ignores those elsewhere."""
