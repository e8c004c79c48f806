"""ClickHouse's HTTP interface over the ClickHouse engine as a Python library (chdb).

    python front.py FOLDER ADDRESS PORT

Serves on ADDRESS:PORT until it is killed; tables live in FOLDER and survive that. This proves
SQL, formats, types and deduplication against the real engine. It proves nothing about ClickHouse's
own server: there are no users, no replicas, no limits and no progress headers here.

What it speaks:

  GET  /ping             answers `Ok.`
  POST /, GET /          runs one statement, one at a time over all clients
  statement              URL parameter `query`, the body, or both: the body follows the query
  `database`             or header X-ClickHouse-Database; for this statement only
  `default_format`       or header X-ClickHouse-Format; TabSeparated if neither says anything
  `param_NAME=value`     a query parameter, `{NAME:Type}` in the statement
  any other parameter    a setting for this statement only, e.g. `insert_deduplication_token`
  INSERT … FORMAT f      data in the body, in any format of the engine (RowBinary, JSONEachRow,
                         ArrowStream …), with `SETTINGS` before FORMAT or after it
  Transfer-Encoding: chunked and Content-Encoding: gzip in requests

  An error answers ClickHouse's own text, `X-ClickHouse-Exception-Code` and the HTTP status that
  ClickHouse's server gives the commonest codes.

Refused in clear words: `compress` and `decompress` (ClickHouse's own block compression).
Accepted and ignored: users and passwords, sessions, query ids, roles.
"""

import gzip
import json
import os
import re
import sys
import tempfile
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

IGNORED = {
    "user", "password", "session_id", "session_timeout", "session_check", "query_id", "role",
    "quota_key", "wait_end_of_query", "buffer_size", "close_session",
}

# As HTTPHandler.cpp maps them; everything else is a 500.
HTTP_STATUS = {
    400: {26, 27, 38, 41, 42, 43, 53, 62, 70, 72, 457, 636},
    404: {46, 47, 50, 60, 81, 115},
    501: {48},
}

# What can hold a word that isn't one: literals, quoted names, comments.
TOKEN = re.compile(
    rb"""'(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*"
       | --[^\n]* | /\*.*?\*/ | [A-Za-z_0-9]+ | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)


class Refused(Exception):
    """An answer of our own, in the shape of ClickHouse's."""

    def __init__(self, code, message):
        super().__init__(f"Code: {code}. DB::Exception: {message}")


def split_insert(statement):
    """Cuts `INSERT INTO t (…) SETTINGS … FORMAT f SETTINGS …⏎data` into its parts.

    Returns (into, settings, format, data), the first three as text, or None when the statement
    isn't an INSERT with data in a format: the engine takes `VALUES (…)` and `SELECT` as they are.
    """
    into = settings = name = None
    depth, words = 0, []
    for token in TOKEN.finditer(statement):
        word = token[0].upper()
        if word in (b"(", b")"):
            depth += 1 if word == b"(" else -1
        if depth or not re.fullmatch(rb"[A-Z_0-9]+", word):
            continue
        words.append(word)
        if words[0] != b"INSERT" or word in (b"VALUES", b"SELECT", b"WITH"):
            return None
        if word == b"SETTINGS":
            into, settings = statement[: token.start()], token.end()
        elif len(words) > 1 and words[-2] == b"FORMAT":
            name, end = token[0], token.end()
            break
    if name is None:
        return None
    head = statement[: end - len(name)].rstrip()[: -len(b"FORMAT")]
    given = [head[settings:]] if into is not None else []
    into = head if into is None else into
    after = re.match(rb"[ \t]*(?:SETTINGS\b([^\n]*))?;?[ \t]*(?:\r?\n|\Z)", statement[end:], re.I)
    if after:
        given += [after[1].rstrip(b"; \t")] if after[1] else []
        end += after.end()
    return into.decode(), b", ".join(given).decode(), name.decode(), statement[end:]


class Engine:
    """One session over one folder; statements run one after the other."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.incoming = tempfile.mkdtemp(prefix="incoming-", dir=os.path.dirname(folder))
        self.session = session.Session(folder)
        self.lock = threading.Lock()

    def run(self, statement, database, output_format, settings, params):
        insert = split_insert(statement)
        if insert is None:
            return self.query(statement.decode(), database, output_format, settings, params)
        into, given, name, data = insert
        # The engine reads the data from a file: a statement can't hold arbitrary bytes.
        with tempfile.NamedTemporaryFile(dir=self.incoming) as file:
            file.write(data)
            file.flush()
            given = f"SETTINGS {given} " if given else ""
            sql = f"{into} FROM INFILE '{file.name}' {given}FORMAT {name}"
            return self.query(sql, database, output_format, settings, params)

    def query(self, sql, database, output_format, settings, params):
        with self.lock:
            done = []
            try:
                self.session.query(f"USE {quote_name(database)}")
                for name, value in settings.items():
                    self.session.query(f"SET {quote_name(name)} = {quote(value)}")
                    done.append(name)
                result = self.session.query(sql, output_format, params=params)
                summary = {"read_rows": str(result.rows_read()),
                           "written_rows": str(result.rows_written())}
                return result.bytes() or b"", summary
            finally:
                for name in done:
                    self.session.query(f"SET {quote_name(name)} = DEFAULT")


def quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(name):
    if not re.fullmatch(r"\w+", name):
        raise Refused(62, f"not a name: {name}")
    return f"`{name}`"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine = None

    def do_GET(self):
        if self.path == "/ping":
            self.answer(200, b"Ok.\n", {})
        else:
            self.execute(b"")

    def do_POST(self):
        self.execute(self.body())

    def execute(self, body):
        try:
            output, summary = self.parse_and_run(body)
        except Exception as error:  # whatever it is, the client gets to see it
            text = str(error)
            code = re.match(r"Code: (\d+)", text)
            code = int(code[1]) if code else 1002
            status = next((s for s, codes in HTTP_STATUS.items() if code in codes), 500)
            self.answer(status, text.strip().encode() + b"\n",
                        {"X-ClickHouse-Exception-Code": str(code)})
        else:
            self.answer(200, output, {"X-ClickHouse-Summary": json.dumps(summary)})

    def parse_and_run(self, body):
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        for name in ("compress", "decompress"):
            if parameters.pop(name, "0") not in ("", "0"):
                raise Refused(48, f"`{name}` isn't supported by this server, turn compression off")
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        query = parameters.pop("query", "").encode()
        statement = query + b"\n" + body if query and body else query or body
        if not statement.strip():
            raise Refused(62, "Empty query")
        database = parameters.pop("database", "") or self.headers.get("X-ClickHouse-Database")
        output_format = (parameters.pop("default_format", "")
                         or self.headers.get("X-ClickHouse-Format") or "TabSeparated")
        params = {name[6:]: value for name, value in parameters.items()
                  if name.startswith("param_")}
        settings = {name: value for name, value in parameters.items()
                    if not name.startswith("param_") and name not in IGNORED}
        return self.engine.run(statement, database or "default", output_format, settings, params)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def answer(self, status, output, headers):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("Content-Length", str(len(output)))
        self.send_header("X-ClickHouse-Query-Id", str(uuid.uuid4()))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(output)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Handler.engine = Engine(os.path.abspath(sys.argv[1]))
    Server((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
