"""The repositories of `loopback_hub`: files, commits, branches and tags, all in memory."""

import hashlib
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".npz", ".png", ".jpg", ".jpeg")


class HubError(Exception):
    """An answer that is not a success; clients choose their exception by status and code."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = ""):
        super().__init__(message)
        self.status, self.message = status, message
        self.code, self.commit = code, commit


class File(NamedTuple):
    content: bytes
    lfs: bool

    @property
    def etag(self) -> str:
        """SHA-256 under LFS; else Git's name of the blob."""
        git = hashlib.sha1(b"blob %d\0" % len(self.content) + self.content)
        return (hashlib.sha256(self.content) if self.lfs else git).hexdigest()


class Commit(NamedTuple):
    sha: str
    parent: str
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File]

    def paths(self, start: str, recursive: bool) -> list[str]:
        """The files and folders under a folder ("folder/" or ""), or only those right in it."""
        every = {str(way) for path in self.files for way in PurePosixPath(path, "_").parents}
        under = (path for path in sorted(every - {"."}) if path.startswith(start))
        return [path for path in under if recursive or "/" not in path[len(start) :]]

    def entry(self, path: str) -> dict[str, Any]:
        """What listings say of a file, or else of a folder."""
        if (file := self.files.get(path)) is None:
            oid = hashlib.sha1(f"{self.sha} {path}".encode()).hexdigest()
            return {"type": "directory", "path": path, "size": 0, "oid": oid}
        size, etag = len(file.content), file.etag
        lfs = {"lfs": {"oid": etag, "size": size, "pointerSize": 130}} if file.lfs else {}
        return {"type": "file", "path": path, "size": size, "oid": etag[:40]} | lfs

    def sibling(self, path: str, blobs: bool) -> dict[str, Any]:
        """What the description of a repository says of a file."""
        if not blobs:
            return {"rfilename": path}
        entry = self.entry(path)
        about = {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]}
        if "lfs" in entry:
            about["lfs"] = entry["lfs"] | {"sha256": entry["lfs"]["oid"]}
        return about


class Repository:
    """Commits of all branches, oldest first, and what was uploaded to LFS by its SHA-256."""

    def __init__(self, url: str, repo_id: str, owner: str, private: bool):
        self.url, self.id, self.private = url, repo_id, private
        self.commits: list[Commit] = []
        self.branches: dict[str, str] = {"main": ""}
        self.tags: dict[str, str] = {}
        self.awaited: set[str] = set()
        self.objects: dict[str, bytes] = {}
        rules = "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LFS_SUFFIXES)
        self.add_commit("main", {".gitattributes": File(rules.encode(), lfs=False)}, owner)

    def at(self, revision: str) -> Commit:
        """The commit of a branch or a tag, or the one whose SHA this is."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        for commit in self.commits:
            if commit.sha == sha:
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str) -> list[Commit]:
        """The commit at a revision and those before it, newest first."""
        commits = [self.at(revision)]
        while parent := commits[-1].parent:
            commits.append(self.at(parent))
        return commits

    def add_commit(
        self,
        branch: str,
        changes: dict[str, File | None],
        author: str,
        title: str = "initial commit",
        message: str = "",
    ) -> Commit:
        """Write files over those of a branch's last commit; None deletes one."""
        parent = self.branches[branch]
        date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        sha = hashlib.sha1(f"{self.url} {len(self.commits)} {date}".encode()).hexdigest()
        files = (self.at(parent).files if parent else {}) | changes
        kept = {path: file for path, file in files.items() if file is not None}
        self.commits.append(Commit(sha, parent, title, message, author, date, kept))
        self.branches[branch] = sha
        return self.commits[-1]
