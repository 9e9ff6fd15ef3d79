"""A stand-in for the W&B server on the loopback address: enough of its protocol for the real client."""

import base64
import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40
PROJECT = {"id": "UHJvamVjdDox", "name": "alexnet-ablations", "entity": {"id": "RW50aXR5OjE=", "name": "lab"}}
NOW = "2026-01-01T00:00:00Z"


class Server(ThreadingHTTPServer):
    """Keeps the runs that it is sent: the lines of each run's history by their number, and its last summary."""

    daemon_threads = True

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.seconds = status, seconds
        self.full = False
        """Whether it takes no more metrics and files, as one whose quota is used up."""
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.summary: dict[str, str] = {}
        self.views: dict[str, dict[str, Any]] = {}
        """Workspaces and reports by their id, with how often each was written."""
        self.artifacts: dict[str, dict[str, Any]] = {}
        """Artifacts by their id, with the names of their files."""
        self.sweep = ""
        """The file of a sweep."""
        self.orders: list[dict[str, Any]] = []
        """What an agent is to do, the last first; afterwards it is to end."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show an error, unless it is a client that ended before its answer: killed runs do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def graphql(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer what the client asks about a run."""
        if "RunResumeStatus" in query:
            known = self.bucket(given["name"]) if given["name"] in self.history else None
            return {"model": PROJECT | {"bucket": known}}
        if "query Run(" in query:
            kept = {"projectId": "1", "createdAt": NOW, "heartbeatAt": NOW, "state": "finished", "user": {}}
            facts = dict.fromkeys(("commit", "group", "historyKeys", "jobType", "readOnly", "sweepName"))
            return {"project": {"run": self.bucket(given["name"]) | kept | facts | {"systemMetrics": "{}"}}}
        if "UpsertBucket" in query:
            inserted = given["name"] not in self.history
            self.history.setdefault(given["name"], {})
            return {"upsertBucket": {"bucket": self.bucket(given["name"]), "inserted": inserted}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
        if "SweepWithRuns" in query:
            return {"project": {"sweep": {"config": self.sweep, "runs": {"edges": []}}}}
        if "CreateAgent" in query:
            return {"createAgent": {"agent": {"id": "QWdlbnQ6MQ=="}}}
        if "Heartbeat" in query:
            idle = json.loads(given["runState"]) == {}
            order = [self.orders.pop()] if self.orders else [{"type": "exit"}] if idle else []
            return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(order)}}
        if "query ArtifactType" in query:
            return {"project": {"artifact": None}}
        if "mutation CreateArtifact " in query:
            name = f"artifact{len(self.artifacts)}"
            given = given["input"]
            self.artifacts[name] = {
                "name": given["artifactCollectionName"],
                "type": given["artifactTypeName"],
                "files": [],
            }
            sequence = {"id": "sequence", "latestArtifact": None}
            return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}}
        if "CreateArtifactManifest" in query:
            file = {"id": "file", "uploadUrl": f"{self.address}/upload/manifest", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}
        if "CreateArtifactFiles" in query:
            files = []
            for one in given["input"]["artifactFiles"]:
                self.artifacts[one["artifactID"]]["files"].append(one["name"])
                place = {"storagePath": one["name"], "uploadUrl": f"{self.address}/upload/file", "uploadHeaders": []}
                files.append({"node": place | {"uploadMultipartUrls": None, "artifact": {"id": one["artifactID"]}}})
            return {"createArtifactFiles": {"files": {"edges": files}}}
        if "CommitArtifact" in query:
            self.artifacts[given["artifactID"]]["is_whole"] = True
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "digest"}}}
        if "GetProjects" in query:
            one = PROJECT | {"entityName": "lab", "createdAt": NOW, "isBenchmark": False, "user": None}
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [{"node": one, "cursor": ""}], "pageInfo": page}}
        if "upsertView" in query:
            name = given.get("id") or base64.b64encode(f"View:{len(self.views)}".encode()).decode()
            kept = {"createdAt": NOW, "updatedAt": NOW, "project": PROJECT | {"entityName": "lab"}}
            view = kept | {key: given[key] for key in ("name", "displayName", "description", "spec")} | {"id": name}
            self.views[name] = view | {"written": self.views.get(name, {"written": 0})["written"] + 1}
            return {"upsertView": {"view": self.views[name], "inserted": "id" not in given}}
        if "SpecificReport" in query:
            return {"view": self.views[given["reportId"]]}
        if "allViews" in query:
            found = [{"node": view} for view in self.views.values() if view["name"] == given["viewName"]]
            return {"project": {"allViews": {"edges": found}}}
        return {"viewer": {"id": "VXNlcjox", "entity": "lab", "username": "lab", "flags": "{}", "teams": {"edges": []}}}

    def bucket(self, name: str) -> dict[str, Any]:
        """Describe a run."""
        lines = self.history[name]
        last = json.dumps([json.dumps(lines[max(lines)])] if lines else [])
        return {
            "id": name,
            "name": name,
            "displayName": name,
            "description": "",
            "config": "{}",
            "summaryMetrics": self.summary.get(name, "{}"),
            "sweepName": None,
            "project": PROJECT,
            "historyLineCount": len(lines),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": last,
            "eventsTail": "[]",
            "tags": [],
            "notes": None,
            "wandbConfig": '{"t": 1}',
        }


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        time.sleep(self.server.seconds)
        answer: dict[str, Any] = {}
        full = self.server.full and self.path != "/graphql"
        status = 403 if full else self.server.status
        if status != 200:
            answer = {"errors": [{"message": "no"}], "error": "storage quota exceeded"}
        elif self.path == "/graphql":
            asked = json.loads(body)
            answer = {"data": self.server.graphql(asked["query"], asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            name = self.path.split("/")[-2]
            files = json.loads(body).get("files") or {}
            if lines := files.get("wandb-history.jsonl"):
                for number, line in enumerate(lines["content"], lines["offset"]):
                    self.server.history[name][number] = json.loads(line)
            if lines := files.get("wandb-summary.json"):
                self.server.summary[name] = lines["content"][-1]
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_PUT = do_POST  # noqa: N815


@contextmanager
def wandb_server(status: int = 200, seconds: float = 0.0) -> Iterator[Server]:
    """Serve with a status for every answer, after some seconds."""
    server = Server(status, seconds)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
