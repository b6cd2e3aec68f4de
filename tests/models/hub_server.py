"""A hub on loopback with repositories, branches, commits and large files, for the real client."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secret"
MODELS = "/api/models/(?P<repository>[^/]+/[^/]+)"
ROUTES = {
    "create": "/api/repos/create",
    "validate": "/api/validate-yaml",
    "branch": f"{MODELS}/branch/(?P<revision>[^/]+)",
    "preupload": f"{MODELS}/preupload/(?P<revision>[^/]+)",
    "commit": f"{MODELS}/commit/(?P<revision>[^/]+)",
    "batch": r"/(?P<repository>[^/]+/[^/]+)\.git/info/lfs/objects/batch",
    "store": "/store/(?P<oid>[0-9a-f]{64})",
    "resolve": "/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)",
}


class Repositories(BaseHTTPRequestHandler):
    """The requests that `push_to_hub` and `from_pretrained` make.

    The server has ``repositories``: {name: {branch or commit: {file: bytes}}}, ``private``: their
    names, ``objects``: {SHA-256: bytes}, ``requests`` and ``url``.
    """

    def log_message(self, *_):
        self.server.requests.append(f"{self.command} {self.path}")

    def _serve(self):
        path = unquote(urlsplit(self.path).path)
        for name, pattern in ROUTES.items():
            if found := re.fullmatch(pattern, path):
                return getattr(self, name)(**found.groupdict())
        return self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def answer(self, status=200, content=b"", **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if (size := self.headers["Content-Length"]) is not None:
            return self.rfile.read(int(size))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        return content

    def authorized(self):
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    # --- uploads ---

    def create(self):
        asked = json.loads(self.body())
        if not self.authorized():
            return self.answer(401, {"error": "Invalid username or password."})
        name = f"{asked['organization'] or 'user'}/{asked['name']}"
        url = f"{self.server.url}/{name}"
        if name in self.server.repositories:
            return self.answer(409, {"error": "You already created this model", "url": url})
        self.server.repositories[name] = {"main": {}}
        if asked.get("private") or asked.get("visibility") == "private":
            self.server.private.add(name)
        return self.answer(200, {"url": url, "name": name})

    def validate(self):
        content = json.loads(self.body())["content"]
        wrong = "license: unknown" in content
        errors = [{"message": '"license" must be one of [apache-2.0, …]'}] if wrong else []
        return self.answer(400 if wrong else 200, {"errors": errors, "warnings": []})

    def branch(self, repository, revision):
        branches = self.server.repositories[repository]
        if revision in branches:
            return self.answer(409, {"error": "Reference already exists"})
        branches[revision] = branches["main"]
        return self.answer()

    def preupload(self, repository, revision):
        files = [
            {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            for file in json.loads(self.body())["files"]
            for mode in ["lfs" if file["path"].endswith(".safetensors") else "regular"]
        ]
        return self.answer(200, {"files": files})

    def batch(self, repository):
        objects = [
            asked | {"actions": {"upload": {"href": f"{self.server.url}/store/{asked['oid']}"}}}
            for asked in json.loads(self.body())["objects"]
        ]
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, oid):
        content = self.body()
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        return self.answer()

    def commit(self, repository, revision):
        lines = [json.loads(line) for line in self.body().splitlines()]
        branches, files = self.server.repositories[repository], {}
        for kind, value in ((line["key"], line["value"]) for line in lines):
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        if "create_pr=1" in self.path:
            revision = "refs/pr/1"
        branches[revision] = branches.get(revision, {}) | files
        commit = f"{len(branches):040x}"
        branches[commit] = branches[revision]
        url = f"{self.server.url}/{repository}"
        pull = f"{url}/discussions/1"
        urls = {"commitUrl": f"{url}/commit/{commit}", "pullRequestUrl": pull}
        return self.answer(200, urls | {"commitOid": commit})

    # --- downloads ---

    def resolve(self, repository, revision, file):
        branches = self.server.repositories.get(repository)
        if branches is None or (repository in self.server.private and not self.authorized()):
            return self.answer(401, X_Error_Code="RepoNotFound")
        if revision not in branches:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        commits = (name for name, files in branches.items() if files is branches[revision])
        commit = next((name for name in commits if len(name) == 40), "0" * 40)
        if file not in branches[revision]:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        content = branches[revision][file]
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(200, content, ETag=tag, X_Repo_Commit=commit)
