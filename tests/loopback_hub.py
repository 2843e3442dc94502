"""A Hub on the loopback interface, for tests that push and load with the real clients.

It keeps model and dataset repositories in memory and speaks what the clients ask when Xet is off.
It has one user, who may write everywhere, and one branch, `main`; it has no tags, pull requests or
Spaces, does not say which commit wrote a file, and does not read the metadata of cards. A request
that has no route here, or that broke its handler, fails and is noted in `LoopbackHub.problems`.
"""

import base64
import hashlib
import json
import os
import re
import threading
import traceback
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, USER = "hf_loopback", "tester"
LFS_SUFFIXES = (".parquet", ".arrow", ".safetensors", ".bin", ".npz", ".png", ".jpg", ".jpeg")
LARGEST_REGULAR_FILE = 10 * 2**20
Answer = tuple[int, bytes, dict[str, str]]


def as_json(value: Any, status: int = 200) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


class HubError(Exception):
    """An answer that is not a success; clients choose their exception by the code."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = ""):
        super().__init__(message)
        self.answer = as_json({"error": message}, status)
        headers = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}
        self.answer[2].update((name, text) for name, text in headers.items() if text)


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
    title: str
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


class Repository:
    """Commits, oldest first, and what was uploaded to LFS by its SHA-256."""

    def __init__(self, url: str, repo_id: str, visibility: str | None):
        self.url, self.id, self.private = url, repo_id, visibility == "private"
        self.commits: list[Commit] = []
        self.objects: dict[str, bytes] = {}
        rules = "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LFS_SUFFIXES)
        self.add_commit("initial commit", {".gitattributes": File(rules.encode(), lfs=False)})

    def at(self, revision: str) -> Commit:
        for commit in reversed(self.commits):
            if revision in ("main", commit.sha):
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def add_commit(self, title: str, changes: dict[str, File | None]) -> Commit:
        """Write files over those of the last commit; None deletes one."""
        date = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        sha = hashlib.sha1(f"{self.url} {len(self.commits)} {date}".encode()).hexdigest()
        files = (self.commits[-1].files if self.commits else {}) | changes
        kept = {path: file for path, file in files.items() if file is not None}
        self.commits.append(Commit(sha, title, date, kept))
        return self.commits[-1]


class LoopbackHub(ThreadingHTTPServer):
    """A Hub that answers inside its `with` block."""

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """The whole environment of a process that knows no other Hub; its caches are in `home`."""
        ours = re.compile("(HF_|HUGGING|TRANSFORMERS_).*|.*_PROXY", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
        hub = {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home)}
        hub |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        # Datasets that are loaded would be counted on a host that is not the endpoint.
        return kept | hub | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"}

    def files(self, repo_id: str, repo_type: str = "model") -> dict[str, bytes]:
        """The content of a repository's files by their paths."""
        files = self.repositories[repo_type, repo_id].at("main").files
        return {path: file.content for path, file in files.items()}


class _Connection(BaseHTTPRequestHandler):
    """Requests of one client: what they ask is in `self.repo`, `self.query` and `self.body`."""

    server: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        """Read a request of any method to its end, and send the answer."""
        path, self.query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            with self.server.lock:
                status, body, headers = self.answer(path)
        except HubError as error:
            status, body, headers = error.answer
        except Exception as error:
            self.server.problems.append(f"{self.requestline}\n{traceback.format_exc()}")
            status, body, headers = HubError(501, repr(error)).answer  # 500 would be tried again
        self.send_response(status)
        for name, text in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def answer(self, path: str) -> Answer:
        """Let the first route that fits answer; it gets the named parts of the path."""
        method = "GET" if self.command == "HEAD" else self.command
        bearer = self.headers.get("Authorization")
        reads = method != "POST" or re.search("/validate-yaml$|/paths-info/", path)
        if bearer != f"Bearer {TOKEN}" and not (bearer is None and reads):
            raise HubError(401, "Invalid username or password.")
        for asked_method, pattern, handler in ROUTES:
            if method == asked_method and (match := re.fullmatch(pattern, path)) is not None:
                parts = {name: unquote(part) for name, part in match.groupdict("").items()}
                if "repo_id" in parts:
                    kind = "dataset" if "dataset" in parts.pop("kind") else "model"
                    key = (kind, parts.pop("repo_id"))
                    if key not in self.server.repositories:
                        raise HubError(404, "Repository not found", "RepoNotFound")
                    self.repo = self.server.repositories[key]
                return handler(self, **parts)
        self.server.problems.append(f"No route: {self.requestline}")
        raise HubError(404, "The loopback Hub has no such route")

    def create(self) -> Answer:
        asked = json.loads(self.body)
        kind = asked.get("type", "model")
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        url = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        if (kind, repo_id) in self.server.repositories:
            return as_json({"error": f"You already created this {kind} repo", "url": url}, 409)
        self.server.repositories[kind, repo_id] = Repository(url, repo_id, asked.get("visibility"))
        return as_json({"url": url})

    def preupload(self, revision: str) -> Answer:
        """Say of each file whether LFS takes it, and what is there under its path."""
        files, answers = self.repo.at(revision).files, []
        for asked in json.loads(self.body)["files"]:
            path, large = asked["path"], asked["size"] > LARGEST_REGULAR_FILE
            lfs = large or path.endswith(LFS_SUFFIXES) or b"\0" in base64.b64decode(asked["sample"])
            mode = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            answers.append(mode | ({"oid": files[path].etag} if path in files else {}))
        return as_json({"files": answers})

    def lfs_batch(self) -> Answer:
        """Say where to upload each object that the repository lacks."""
        objects = json.loads(self.body)["objects"]
        for asked in objects:
            if asked["oid"] not in self.repo.objects:
                asked["actions"] = {"upload": {"href": f"{self.repo.url}.git/lfs"}}
        return as_json({"transfer": "basic", "objects": objects})

    def lfs_upload(self) -> Answer:
        self.repo.objects[hashlib.sha256(self.body).hexdigest()] = self.body
        return as_json({})

    def commit(self, revision: str) -> Answer:
        """Do all operations of a commit, or none."""
        head = self.repo.at(revision)
        changes: dict[str, File | None] = {}
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if revision != "main" or "create_pr" in self.query:
            raise HubError(400, "Commits go to main here")
        if header["value"].get("parentCommit", head.sha) != head.sha:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        for key, value in ((operation["key"], operation["value"]) for operation in operations):
            path = value["path"].rstrip("/")
            if key == "file":
                changes[path] = File(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                changes[path] = File(self.repo.objects[value["oid"]], lfs=True)
            elif key == "deletedFile" and path in head.files:
                changes[path] = None
            elif key == "deletedFolder" and (inside := head.paths(f"{path}/", True)):
                changes |= dict.fromkeys(inside)
            else:
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
        sha = self.repo.add_commit(header["value"]["summary"], changes).sha
        return as_json({"commitOid": sha, "commitUrl": f"{self.repo.url}/commit/{sha}"})

    def info(self, revision: str) -> Answer:
        repo, commit = self.repo, self.repo.at(revision or "main")
        about = {"id": repo.id, "private": repo.private, "sha": commit.sha}
        about |= {"lastModified": commit.date, "tags": [], "gated": False}
        return as_json(about | {"siblings": [{"rfilename": path} for path in commit.files]})

    def tree(self, revision: str, path: str) -> Answer:
        commit = self.repo.at(revision)
        paths = commit.paths(f"{path}/" if path else "", self.query.get("recursive") == ["true"])
        if path and not paths:
            raise HubError(404, f"{path} does not exist", "EntryNotFound", commit.sha)
        return as_json([commit.entry(path) for path in paths])

    def paths_info(self, revision: str) -> Answer:
        commit, asked = self.repo.at(revision), parse_qs(self.body.decode())["paths"]
        return as_json([commit.entry(path) for path in commit.paths("", True) if path in asked])

    def refs(self) -> Answer:
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.repo.at("main").sha}
        return as_json({"branches": [main], "converts": [], "tags": [], "pullRequests": []})

    def resolve(self, revision: str, path: str) -> Answer:
        """The bytes of a file, or the range of them that is asked for."""
        commit = self.repo.at(revision)
        if (file := commit.files.get(path)) is None:
            raise HubError(404, "Entry not found", "EntryNotFound", commit.sha)
        etag, size = f'"{file.etag}"', len(file.content)
        headers = {"X-Repo-Commit": commit.sha, "ETag": etag, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(size)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, file.content, headers
        start, stop = int(asked[1]), min(int(asked[2] or size) + 1, size)
        if start >= stop:
            return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return 206, file.content[start:stop], headers


_REPO, _REVISION = "(?P<repo_id>[^/]+(?:/[^/]+)?)", "/(?P<revision>[^/]+)"
_API, _PAGE = f"/api/(?P<kind>model|dataset)s/{_REPO}", f"/(?P<kind>datasets/)?{_REPO}"
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/whoami-v2", lambda _: as_json({"type": "user", "name": USER, "orgs": []})),
    ("GET", "/api/agent-harnesses", lambda _: as_json({})),
    ("POST", "/api/validate-yaml", lambda _: as_json({"errors": [], "warnings": []})),
    ("POST", "/api/repos/create", _Connection.create),
    ("POST", f"{_API}/preupload{_REVISION}", _Connection.preupload),
    ("POST", f"{_API}/commit{_REVISION}", _Connection.commit),
    ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", _Connection.lfs_batch),
    ("PUT", rf"{_PAGE}\.git/lfs", _Connection.lfs_upload),
    ("GET", f"{_API}/tree{_REVISION}(?:/(?P<path>.+))?", _Connection.tree),
    ("POST", f"{_API}/paths-info{_REVISION}", _Connection.paths_info),
    ("GET", f"{_API}/refs", _Connection.refs),
    ("GET", f"{_API}(?:/revision{_REVISION})?", _Connection.info),
    ("GET", f"{_PAGE}/resolve{_REVISION}/(?P<path>.+)", _Connection.resolve),
]
