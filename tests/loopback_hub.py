"""A Hub on the loopback interface, for tests that push and load with the real clients.

It keeps model and dataset repositories in memory and speaks what the clients ask when Xet is off.
Its two users know nothing of each other: `tester` writes everywhere but under `stranger/`, where
`stranger` alone writes; a private repository is there only for who may write to it. Branches, tags
and private repositories work, and a card's metadata is checked; there are no pull requests,
discussions, gates or Spaces, and listings do not say which commit wrote a file. A request that has
no route here, or that broke its handler, fails and is noted in `LoopbackHub.problems`.
"""

import base64
import hashlib
import json
import os
import re
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_cards import NO_METADATA, complaints, metadata
from loopback_repository import LFS_SUFFIXES, File, HubError, Repository

TOKEN, USER = "hf_loopback", "tester"
STRANGER_TOKEN, STRANGER = "hf_stranger", "stranger"
USERS = {TOKEN: USER, STRANGER_TOKEN: STRANGER}
LARGEST_REGULAR_FILE = 10 * 2**20
PIECE = 2**16
Answer = tuple[int, bytes, dict[str, str]]


def as_json(value: Any, status: int = 200) -> Answer:
    return status, json.dumps(value, default=str).encode(), {"Content-Type": "application/json"}


def as_error(error: HubError) -> Answer:
    status, body, headers = as_json({"error": error.message}, error.status)
    message = error.message.encode("ascii", "replace").decode()
    more = {"X-Error-Message": message, "X-Error-Code": error.code, "X-Repo-Commit": error.commit}
    return status, body, headers | {name: text for name, text in more.items() if text}


def not_logged_in(code: str = "") -> HubError:
    # The real Hub sends no code: its clients take a 401 from an https address of a repository for
    # one that is not found. They do not take it so from http.
    return HubError(401, "Invalid username or password.", code)


def may_write(user: str, namespace: str) -> bool:
    return bool(user) and (user == STRANGER) == (namespace == STRANGER)


class LoopbackHub(ThreadingHTTPServer):
    """A Hub that answers inside its `with` block.

    A test breaks downloads by `hub.cut[path] = n`: the next GET of that file promises all of it,
    sends n bytes, and hangs up. A list of counts does so once for each. `ranges` has the path and
    the Range header of every GET of a file.
    """

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.cut: dict[str, int | list[int]] = {}
        self.ranges: list[tuple[str, str | None]] = []
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """The whole environment of a process that knows no other Hub; its caches are in `home`."""
        ours = re.compile("(HF_|HUGGING|TRANSFORMERS_).*|.*_PROXY", re.IGNORECASE)
        kept = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
        hub = {"HF_ENDPOINT": self.url, "HF_HOME": str(home)}
        hub |= {} if token is None else {"HF_TOKEN": token}
        hub |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        # Datasets that are loaded would be counted on a host that is not the endpoint.
        return kept | hub | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"}

    def put(
        self, repo_id: str, files: dict[str, bytes], repo_type: str = "model", private: bool = False
    ) -> str:
        """Commit files to `main` without a client, in a repository that is created if need be.

        Returns:
            The SHA of the commit.
        """
        owner = STRANGER if repo_id.startswith(f"{STRANGER}/") else USER
        changes: dict[str, File | None] = {
            path: File(content, path.endswith(LFS_SUFFIXES)) for path, content in files.items()
        }
        with self.lock:
            repo = self.repositories.get((repo_type, repo_id))
            repo = repo or self.new_repository(repo_type, repo_id, owner, private)
            return repo.add_commit("main", changes, owner, "Put").sha

    def new_repository(self, kind: str, repo_id: str, owner: str, private: bool) -> Repository:
        url = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        repo = Repository(url, repo_id, owner, private)
        self.repositories[kind, repo_id] = repo
        return repo

    def files(
        self, repo_id: str, repo_type: str = "model", revision: str = "main"
    ) -> dict[str, bytes]:
        """The content of a repository's files by their paths."""
        files = self.repositories[repo_type, repo_id].at(revision).files
        return {path: file.content for path, file in files.items()}

    def next_cut(self, path: str) -> int | None:
        """How many bytes of a file the answer at hand may send; None is all of them."""
        counts = self.cut.pop(path, None)
        if not isinstance(counts, list):
            return counts
        if counts[1:]:
            self.cut[path] = counts[1:]
        return counts[0]


class _Connection(BaseHTTPRequestHandler):
    """Requests of one client: what they ask is in `user`, `repo`, `query` and `body`."""

    server: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """Nothing is printed."""

    def serve(self) -> None:
        """Read a request of any method to its end, and send the answer."""
        path, self.query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stop: int | None = None
        try:
            with self.server.lock:
                answer = self.answer(path)
        except HubError as error:
            answer = as_error(error)
        except Exception as error:
            self.server.problems.append(f"{self.requestline}\n{traceback.format_exc()}")
            answer = as_json({"error": repr(error)}, 501)  # 500 would be tried again
        try:
            self.send(*answer)
        except ConnectionError:  # the client has left
            self.close_connection = True

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, text in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, text)
        self.end_headers()
        sent = memoryview(body)[: 0 if self.command == "HEAD" else self.stop]
        for start in range(0, len(sent), PIECE):
            self.wfile.write(sent[start : start + PIECE])
        self.close_connection = self.close_connection or self.stop is not None

    def answer(self, path: str) -> Answer:
        """Let the first route that fits answer; it gets the named parts of the path."""
        method = "GET" if self.command == "HEAD" else self.command
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.user = USERS.get(token, "")
        if token and not self.user:
            raise HubError(401, "Invalid credentials in Authorization header")
        for asked_method, pattern, handler, needs in ROUTES:
            if method == asked_method and (match := re.fullmatch(pattern, path)) is not None:
                parts = {name: unquote(part) for name, part in match.groupdict("").items()}
                if needs == "user" and not self.user:
                    raise not_logged_in()
                if "repo_id" in parts:
                    kind = "dataset" if "dataset" in parts.pop("kind") else "model"
                    self.repo = self.find(kind, parts.pop("repo_id"), needs)
                return handler(self, **parts)
        self.server.problems.append(f"No route: {self.requestline}")
        raise HubError(404, "The loopback Hub has no such route")

    def find(self, kind: str, repo_id: str, needs: str) -> Repository:
        """The repository, unless the user must not see it, or not write to it."""
        repo = self.server.repositories.get((kind, repo_id))
        member = may_write(self.user, repo_id.partition("/")[0])
        hidden = repo is None or (repo.private and needs and not member)
        if not self.user and (hidden or needs == "write"):
            raise not_logged_in("RepoNotFound")
        if repo is None or hidden:
            raise HubError(404, "Repository not found", "RepoNotFound")
        if needs == "write" and not member:
            message = "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
            raise HubError(403, "Authorization error." if "/lfs/" in self.path else message)
        return repo

    def whoami(self) -> Answer:
        return as_json({"type": "user", "name": self.user, "orgs": []})

    def create(self) -> Answer:
        asked = json.loads(self.body)
        kind, private = asked.get("type", "model"), asked.get("visibility") == "private"
        namespace = asked.get("organization") or self.user
        repo_id = f"{namespace}/{asked['name']}"
        if not may_write(self.user, namespace):
            message = f"You don't have the rights to create a {kind} under the namespace"
            raise HubError(403, f'{message} "{namespace}"')
        if (repo := self.server.repositories.get((kind, repo_id))) is not None:
            message = f"You already created this {kind} repo"
            return as_json({"error": message, "url": repo.url}, 409)
        return as_json({"url": self.server.new_repository(kind, repo_id, self.user, private).url})

    def validate(self) -> Answer:
        """Check a card; faults come as JSON, or as lines where text is asked for."""
        card = json.loads(self.body)["content"]
        faults = complaints(card)
        if faults and "text/plain" in self.headers.get("Accept", ""):
            text = "\n".join(f"- Error: {fault}" for fault in faults)
            return 400, text.encode(), {"Content-Type": "text/plain; charset=utf-8"}
        warnings = [] if faults or metadata(card) else [{"message": NO_METADATA}]
        errors = [{"message": fault} for fault in faults]
        return as_json({"errors": errors, "warnings": warnings}, 400 if faults else 200)

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
                self.repo.awaited.add(asked["oid"])
                asked["actions"] = {"upload": {"href": f"{self.repo.url}.git/lfs"}}
        return as_json({"transfer": "basic", "objects": objects})

    def lfs_upload(self) -> Answer:
        """Take an object that was announced; as in a bucket, nobody has to say who they are."""
        if (oid := hashlib.sha256(self.body).hexdigest()) not in self.repo.awaited:
            raise HubError(403, "Nobody has announced these bytes")
        self.repo.objects[oid] = self.body
        return as_json({})

    def commit(self, revision: str) -> Answer:
        """Do all operations of a commit, or none."""
        head = self.repo.at(revision)
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if "create_pr" in self.query:
            raise NotImplementedError("The loopback Hub has no pull requests")
        if revision not in self.repo.branches:
            raise HubError(400, f"Invalid reference for a commit: {revision}")
        about = header["value"]
        if not head.sha.startswith(about.get("parentCommit", "")):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, File | None] = {}
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
        card = changes.get("README.md")
        if card is not None and (faults := complaints(card.content.decode())):
            return as_json({"errors": [{"message": fault} for fault in faults]}, 400)
        title, message = about["summary"], about.get("description", "")
        sha = self.repo.add_commit(revision, changes, self.user, title, message).sha
        return as_json({"commitOid": sha, "commitUrl": f"{self.repo.url}/commit/{sha}"})

    def commits(self, revision: str) -> Answer:
        return as_json(
            [
                {"id": commit.sha, "title": commit.title, "message": commit.message}
                | {"date": commit.date, "authors": [{"user": commit.author}]}
                for commit in self.repo.history(revision)
            ]
        )

    def branch(self, revision: str) -> Answer:
        """Create a branch of this name."""
        start = json.loads(self.body).get("startingPoint", "main")
        return self.point(self.repo.branches, f"refs/heads/{revision}", start)

    def tag(self, revision: str) -> Answer:
        """Create a tag on a revision."""
        return self.point(self.repo.tags, f"refs/tags/{json.loads(self.body)['tag']}", revision)

    def point(self, names: dict[str, str], ref: str, revision: str) -> Answer:
        if (name := ref.split("/", 2)[2]) in names:
            raise HubError(409, f"Reference already exists: {ref}")
        names[name] = self.repo.at(revision).sha
        return as_json({})

    def refs(self) -> Answer:
        found = {
            kind: [
                {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": sha}
                for name, sha in names.items()
            ]
            for kind, folder, names in (
                ("branches", "heads", self.repo.branches),
                ("tags", "tags", self.repo.tags),
            )
        }
        return as_json(found | {"converts": [], "pullRequests": []})

    def info(self, revision: str) -> Answer:
        repo, commit = self.repo, self.repo.at(revision or "main")
        about = {"id": repo.id, "author": repo.id.partition("/")[0], "private": repo.private}
        about |= {"sha": commit.sha, "lastModified": commit.date, "gated": False}
        about |= {"createdAt": repo.commits[0].date, "disabled": False}
        card = commit.files.get("README.md", File(b"", lfs=False)).content.decode()
        data = metadata(card) or {}
        about |= {"tags": data.get("tags", []), **({"cardData": data} if data else {})}
        about |= {key: data[key] for key in ("library_name", "pipeline_tag") if key in data}
        blobs = "blobs" in self.query
        siblings = [commit.sibling(path, blobs) for path in commit.files]
        return as_json(about | {"siblings": siblings})

    def tree(self, revision: str, path: str) -> Answer:
        commit = self.repo.at(revision)
        paths = commit.paths(f"{path}/" if path else "", self.query.get("recursive") == ["true"])
        if path and not paths:
            raise HubError(404, f"{path} does not exist", "EntryNotFound", commit.sha)
        return as_json([commit.entry(path) for path in paths])

    def paths_info(self, revision: str) -> Answer:
        commit, asked = self.repo.at(revision), parse_qs(self.body.decode())["paths"]
        return as_json([commit.entry(path) for path in commit.paths("", True) if path in asked])

    def resolve(self, revision: str, path: str) -> Answer:
        """The bytes of a file, or the range of them that is asked for."""
        commit, asked = self.repo.at(revision), self.headers.get("Range")
        if (file := commit.files.get(path)) is None:
            raise HubError(404, "Entry not found", "EntryNotFound", commit.sha)
        if self.command == "GET":
            self.server.ranges.append((path, asked))
            self.stop = self.server.next_cut(path)
        etag, size = f'"{file.etag}"', len(file.content)
        headers = {"X-Repo-Commit": commit.sha, "ETag": etag, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(size)}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if span is None:
            return 200, file.content, headers
        start, stop = int(span[1]), min(int(span[2] or size) + 1, size)
        if start >= stop:
            return 416, b"", headers | {"Content-Range": f"bytes */{size}"}
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return 206, file.content[start:stop], headers


for _method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
    setattr(_Connection, f"do_{_method}", _Connection.serve)

_REPO, _REVISION = "(?P<repo_id>[^/]+(?:/[^/]+)?)", "/(?P<revision>[^/]+)"
_API, _PAGE = f"/api/(?P<kind>model|dataset)s/{_REPO}", f"/(?P<kind>datasets/)?{_REPO}"
# Of each route: its method, its path, what answers, and what the user must be allowed.
ROUTES: list[tuple[str, str, Callable[..., Answer], str]] = [
    ("GET", "/api/whoami-v2", _Connection.whoami, "user"),
    ("GET", "/api/agent-harnesses", lambda _: as_json({}), ""),
    ("POST", "/api/validate-yaml", _Connection.validate, ""),
    ("POST", "/api/repos/create", _Connection.create, "user"),
    ("POST", f"{_API}/preupload{_REVISION}", _Connection.preupload, "write"),
    ("POST", f"{_API}/commit{_REVISION}", _Connection.commit, "write"),
    ("POST", f"{_API}/branch{_REVISION}", _Connection.branch, "write"),
    ("POST", f"{_API}/tag{_REVISION}", _Connection.tag, "write"),
    ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", _Connection.lfs_batch, "write"),
    ("PUT", rf"{_PAGE}\.git/lfs", _Connection.lfs_upload, ""),
    ("GET", f"{_API}/tree{_REVISION}(?:/(?P<path>.+))?", _Connection.tree, "read"),
    ("POST", f"{_API}/paths-info{_REVISION}", _Connection.paths_info, "read"),
    ("GET", f"{_API}/commits{_REVISION}", _Connection.commits, "read"),
    ("GET", f"{_API}/refs", _Connection.refs, "read"),
    ("GET", f"{_API}(?:/revision{_REVISION})?", _Connection.info, "read"),
    ("GET", f"{_PAGE}/resolve{_REVISION}/(?P<path>.+)", _Connection.resolve, "read"),
]
