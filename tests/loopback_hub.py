"""A small Hub on the loopback interface, for tests that push and load with the real clients.

It keeps repositories in memory. Files are never in LFS or Xet. The one user, `tester`, writes
everywhere but under `stranger/`. A request without a route fails, and is noted in
`LoopbackHub.problems`.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, USER = "hf_loopback", "tester"
Answer = tuple[int, bytes, dict[str, str]]

#: The beginning of the code of a client.
START = """
import sys
from pathlib import Path
from huggingface_hub import HfApi

def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error as raised:
        return raised
    raise AssertionError(f"{function.__name__}{arguments} raised no {error.__name__}")
"""


class HubError(Exception):
    """An answer that is not a success; clients choose their exception by status and code."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.answer = as_json({"error": message}, status)
        self.answer[2].update({"X-Error-Message": message, "X-Error-Code": code})


class Commit(NamedTuple):
    sha: str
    title: str
    files: dict[str, bytes]


class Repository:
    """The commits of a repository by their SHA, and the SHAs of its branches and tags."""

    def __init__(self, is_private: bool) -> None:
        self.is_private = is_private
        self.commits: dict[str, Commit] = {}
        self.names: dict[str, str] = {}
        self.commit("main", "initial commit", {".gitattributes": b""})

    def commit(self, branch: str, title: str, files: dict[str, bytes]) -> Commit:
        sha = hashlib.sha1(f"{id(self)} {len(self.commits)}".encode()).hexdigest()
        self.names[branch], self.commits[sha] = sha, Commit(sha, title, files)
        return self.commits[sha]

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a SHA."""
        sha = self.names.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]


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
        hub = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN}
        off = ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY")
        # Datasets that are loaded would be counted on a host that is not the endpoint.
        return kept | hub | dict.fromkeys(off, "1") | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"}

    def run(self, home: Path, code: str, *arguments: object) -> None:
        """Run code after `START` in a process, with these arguments; it must end well."""
        process = subprocess.run(
            [sys.executable, "-c", START + code, *map(str, arguments)],
            env=self.environment(home),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert process.returncode == 0, "\n".join([process.stdout, process.stderr, *self.problems])

    def put(self, repo_id: str, files: dict[str, bytes], private: bool = False) -> Repository:
        """Create a model repository with these files."""
        repo = self.repositories["model", repo_id] = Repository(private)
        repo.commit("main", "Put", dict(files))
        return repo

    def files(self, repo_id: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """The content of a repository's files by their paths."""
        return self.repositories[kind, repo_id].at(revision).files


def as_json(value: Any, status: int = 200) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def complaint(card: bytes) -> str | None:
    """What the Hub would refuse about a README; only licences are checked here."""
    license = re.search(r"^license: *(.*)$", card.decode(), re.MULTILINE)
    is_known = license is None or re.fullmatch(r"[a-z\d.-]+", license[1])
    return None if is_known else '"license" must be one of [apache-2.0, mit, other]'


class _Connection(BaseHTTPRequestHandler):
    """Requests of one client."""

    server: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """Nothing is printed."""

    def serve(self) -> None:
        """Read a request of any method to its end, and send the answer."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            with self.server.lock:
                status, body, headers = self.answer(urlsplit(self.path).path)
        except HubError as error:
            status, body, headers = error.answer
        except Exception as error:
            self.server.problems.append(f"{self.requestline}\n{traceback.format_exc()}")
            status, body, headers = as_json({"error": repr(error)}, 501)  # 500 is tried again
        self.send_response(status)
        for name, text in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def answer(self, path: str) -> Answer:
        """Let the first route that fits answer; it gets the named parts of the path."""
        method = "GET" if self.command == "HEAD" else self.command
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            raise HubError(401, "Invalid credentials in Authorization header")
        self.is_user = bool(token)
        for asked_method, pattern, handler in ROUTES:
            if method == asked_method and (match := re.fullmatch(pattern, path)) is not None:
                parts = {name: unquote(part) for name, part in match.groupdict("").items()}
                if "repo_id" in parts:
                    kind = "dataset" if "dataset" in parts.pop("kind") else "model"
                    self.repo = self.find(kind, parts.pop("repo_id"))
                return handler(self, **parts)
        self.server.problems.append(f"No route: {self.requestline}")
        raise HubError(404, "The loopback Hub has no such route")

    def find(self, kind: str, repo_id: str) -> Repository:
        repo = self.server.repositories.get((kind, repo_id))
        if repo is None or (repo.is_private and not self.is_user):
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repo

    def whoami(self) -> Answer:
        if not self.is_user:
            raise HubError(401, "Invalid username or password.")
        return as_json({"type": "user", "name": USER, "orgs": []})

    def create(self) -> Answer:
        asked = json.loads(self.body)
        kind, owner = asked.get("type", "model"), asked.get("organization") or USER
        repo_id = f"{owner}/{asked['name']}"
        if owner == "stranger":
            raise HubError(403, f"You don't have the rights to create a {kind} there")
        is_new = (kind, repo_id) not in self.server.repositories
        if is_new:
            repo = Repository(asked.get("visibility") == "private")
            self.server.repositories[kind, repo_id] = repo
        url = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        return as_json({"url": url, "error": "You already created it"}, 200 if is_new else 409)

    def validate(self) -> Answer:
        fault = complaint(json.loads(self.body)["content"].encode())
        if fault is not None:
            return 400, f"- Error: {fault}".encode(), {"Content-Type": "text/plain"}
        return as_json({"errors": [], "warnings": []})

    def preupload(self, revision: str) -> Answer:
        files = [file["path"] for file in json.loads(self.body)["files"]]
        mode = {"uploadMode": "regular", "shouldIgnore": False}
        return as_json({"files": [{"path": path} | mode for path in files]})

    def commit(self, revision: str) -> Answer:
        """Do all operations of a commit."""
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        files = dict(self.repo.at(revision).files)
        for key, value in ((operation["key"], operation["value"]) for operation in operations):
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "deletedFile":
                del files[value["path"]]
            else:
                raise NotImplementedError(key)
        sha = self.repo.commit(revision, header["value"]["summary"], files).sha
        return as_json({"commitOid": sha, "commitUrl": f"{self.server.url}/a/b/commit/{sha}"})

    def branch(self, revision: str) -> Answer:
        self.repo.names[revision] = self.repo.at("main").sha
        return as_json({})

    def info(self, revision: str) -> Answer:
        commit = self.repo.at(revision or "main")
        about = {"id": "a/b", "sha": commit.sha, "private": self.repo.is_private, "tags": []}
        return as_json(about | {"siblings": [{"rfilename": path} for path in commit.files]})

    def tree(self, revision: str, path: str) -> Answer:
        """The files under a folder, and the folders where they are not asked for recursively."""
        start = f"{path}/" if path else ""
        is_deep = parse_qs(urlsplit(self.path).query).get("recursive") == ["true"]
        files, entries = self.repo.at(revision).files, {}
        for name in (name for name in files if name.startswith(start)):
            first, _, more = name[len(start) :].partition("/")
            shown = f"{start}{first}" if more and not is_deep else name
            entries[shown] = self.entry(shown, files.get(shown))
        if path and not entries:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
        return as_json(list(entries.values()))

    def entry(self, path: str, content: bytes | None) -> dict[str, Any]:
        kind = "directory" if content is None else "file"
        oid, size = git_name(content or path.encode()), len(content or b"")
        return {"type": kind, "path": path, "size": size, "oid": oid}

    def paths_info(self, revision: str) -> Answer:
        files = self.repo.at(revision).files
        asked = parse_qs(self.body.decode())["paths"]
        return as_json([self.entry(path, files[path]) for path in asked if path in files])

    def resolve(self, revision: str, path: str) -> Answer:
        """The bytes of a file, or the range of them that is asked for."""
        commit = self.repo.at(revision)
        if (content := commit.files.get(path)) is None:
            error = HubError(404, "Entry not found", "EntryNotFound")
            error.answer[2]["X-Repo-Commit"] = commit.sha
            raise error
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{git_name(content)}"'}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span is None:
            return 200, content, headers
        start, stop = int(span[1]), min(int(span[2] or len(content)) + 1, len(content))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return 206, content[start:stop], headers


for _method in ("GET", "HEAD", "POST"):
    setattr(_Connection, f"do_{_method}", _Connection.serve)

_REPO, _REVISION = "(?P<repo_id>[^/]+(?:/[^/]+)?)", "/(?P<revision>[^/]+)"
_API, _PAGE = f"/api/(?P<kind>model|dataset)s/{_REPO}", f"/(?P<kind>datasets/)?{_REPO}"
# Of each route: its method, its path, and what answers.
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", _Connection.whoami),
    ("GET", "/api/agent-harnesses", lambda _: as_json({})),
    ("POST", "/api/validate-yaml", _Connection.validate),
    ("POST", "/api/repos/create", _Connection.create),
    ("POST", f"{_API}/preupload{_REVISION}", _Connection.preupload),
    ("POST", f"{_API}/commit{_REVISION}", _Connection.commit),
    ("POST", f"{_API}/branch{_REVISION}", _Connection.branch),
    ("GET", f"{_API}/tree{_REVISION}(?:/(?P<path>.+))?", _Connection.tree),
    ("POST", f"{_API}/paths-info{_REVISION}", _Connection.paths_info),
    ("GET", f"{_API}/auth-check(?:/write)?", lambda _: as_json({})),
    ("GET", f"{_API}(?:/revision{_REVISION})?", _Connection.info),
    ("GET", f"{_PAGE}/resolve{_REVISION}/(?P<path>.+)", _Connection.resolve),
]
