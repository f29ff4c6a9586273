"""A local replacement of W&B's server that keeps runs and rows in memory.

It answers the requests of wandb 0.31 in an upload: GraphQL (`UpsertBucket` and others) and the file stream of
the history.
"""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef" * 2 + "01234567"  # as long as a real one


class FakeServer(ThreadingHTTPServer):
    """Keeps the variables of all `runs`, their `rows` by run id, and the names of all `operations`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs, self.rows, self.exit_codes, self.views, self.operations = {}, {}, {}, [], []
        self.unauthorised = False  # as for a wrong key
        self.refused = set()  # ids of runs whose rows it refuses

    def handle_error(self, request, client_address):
        pass  # clients close connections early

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def fake_server():
    server = FakeServer()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._answer({})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        content = json.loads(body or b"{}")
        if self.path.endswith("/file_stream"):
            return self._stream(self.path.split("/")[-2], content)
        return self._graphql(content)

    def do_PUT(self):  # a file of a run, such as its requirements.txt
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer({})

    def _graphql(self, content):
        query, variables = content["query"], content.get("variables") or {}
        operation = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = operation[1] if operation else query.strip()[:20]
        self.server.operations.append(name)
        if self.server.unauthorised:
            return self._answer({"errors": [{"message": "user is not logged in"}]}, code=401)
        if "upsertBucket" in query:
            # Later requests contain only changes.
            self.server.runs[variables["name"]] = variables | self.server.runs.get(variables["name"], {})
            project = {"name": variables.get("project"), "entity": {"name": "me"}}
            bucket = {"id": "1", "name": variables["name"], "displayName": "", "project": project,
                      "historyLineCount": 0, "config": "{}", "sweepName": None}  # fmt: skip
            return self._answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})
        if "viewer" in query:
            viewer = {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
            return self._answer({"data": {"viewer": viewer}})
        if "createRunFiles" in query:
            files = [{"name": f, "uploadUrl": f"{self.server.url}/upload/{f}"} for f in variables["files"]]
            return self._answer(
                {"data": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}}
            )
        if name == "Runs":
            page = {"endCursor": None, "hasNextPage": False}
            group = json.loads(variables.get("filters") or "{}").get("group")
            count = sum(group in (None, run.get("groupName")) for run in self.server.runs.values())
            runs = {"internalId": "1", "runCount": count, "runs": {"edges": [], "pageInfo": page}}
            return self._answer({"data": {"project": runs}})
        if "upsertView" in query:
            self.server.views.append(variables | {"spec": json.loads(variables["spec"])})
            project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
            view = {"id": "v1", "name": variables["name"], "displayName": variables["displayName"],
                    "description": "", "project": project, "spec": variables["spec"]}  # fmt: skip
            return self._answer({"data": {"upsertView": {"view": view, "inserted": True}}})
        if name == "ProjectInternalId":
            return self._answer({"data": {"project": {"internalId": "1"}}})
        if name == "GetProjects":
            page = {"endCursor": None, "hasNextPage": False}
            return self._answer({"data": {"models": {"edges": [], "pageInfo": page}}})
        return self._answer({"data": {}})

    def _stream(self, run_id, content):
        if run_id in self.server.refused:
            return self._answer({"error": "no such run"}, code=404)
        for name, part in (content.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                self.server.rows.setdefault(run_id, []).extend(map(json.loads, part["content"]))
        if content.get("complete"):
            self.server.exit_codes[run_id] = content.get("exitcode")
        return self._answer({"exitcode": None, "limits": {}})

    def _answer(self, content, code=200):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
