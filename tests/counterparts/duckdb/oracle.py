"""Says what DuckDB makes of the input of a case, and compares it with what the job has put out, row by row.

A request is a line of JSON, and so is its answer. A request has `statements`, which build the tables of the case, each with
`lists` as its parameters; and `sinks`: a query each, the columns that it gives with their kinds, and the lines of JSON that
the job has written. The answer has the differences of each sink, or an `error` and the statement that it is about.
"""

import base64
import datetime
import decimal
import json
import struct
import sys
from collections import Counter

import duckdb

decimal.getcontext().prec = 200
# How DuckDB counts instants, and how many nanoseconds that is.
INSTANTS = {"instant": ("epoch_us", 1000), "nanos": ("epoch_ns", 1)}
EPOCH = datetime.date(1970, 1, 1).toordinal()

MACROS = [
    # A whole number of so many digits after the point, as a decimal.
    "CREATE MACRO scaled_(units, digits) AS CAST(CAST(units AS VARCHAR) || 'e-' || CAST(digits AS VARCHAR) AS DECIMAL(38, 10))",
    # The nearest whole number to a quotient, halves away from zero.
    "CREATE MACRO nearest_(top, below) AS CAST(sign(top) AS HUGEINT) * ((2 * abs(top) + below) // (2 * below))",
    # The average of decimals with so many digits, with four digits more.
    "CREATE MACRO average_(total, number, digits) AS CASE WHEN number > 0 THEN scaled_(nearest_("
    "CAST(CAST(total AS DECIMAL(38, 10)) * CAST(10000000000 AS HUGEINT) AS HUGEINT),"
    " CAST(number AS HUGEINT) * CAST(power(10, 6 - digits) AS HUGEINT)), digits + 4) END",
]


class Misfit(Exception):
    """A value that its column can't have."""


class Overflow(Exception):
    """A number that has no room in its type."""


def instant(text):
    """Nanoseconds since 1970 of `2026-01-31T12:00:00.000Z`."""
    if not text.endswith("Z") or text[10] != "T":
        raise Misfit(f"no instant in UTC: {text!r}")
    day, clock = text[:10], text[11:-1]
    seconds, _, fraction = clock.partition(".")
    hour, minute, second = (int(part) for part in seconds.split(":"))
    days = datetime.date.fromisoformat(day).toordinal() - EPOCH
    return ((days * 24 + hour) * 60 + minute) * 60 * 10**9 + second * 10**9 + int(fraction.ljust(9, "0") or 0)


def number(value):
    plain = format(decimal.Decimal(value).normalize(), "f")
    return "0" if plain == "-0" else plain


def single(value):
    return struct.unpack("f", struct.pack("f", float(value)))[0]


def canonical(kind, value):
    """One spelling for each value, whoever has written it."""
    if value is None:
        return None
    if kind == "text":
        if not isinstance(value, str):
            raise Misfit(f"no text: {value!r}")
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise Misfit(f"no boolean: {value!r}")
        return value
    if kind in ("whole", "exact"):
        if isinstance(value, (bool, str)):
            raise Misfit(f"no number: {value!r}")
        return number(value)
    if kind == "double":
        return repr(float(value) + 0.0)
    if kind == "float":
        return repr(single(value) + 0.0)
    if kind == "date":
        return value if isinstance(value, str) else value.isoformat()
    if kind in INSTANTS:
        return instant(value) if isinstance(value, str) else int(value) * INSTANTS[kind][1]
    if kind == "bytes":
        return value if isinstance(value, str) else base64.b64encode(value).decode()
    raise Misfit(f"no kind: {kind}")


def found_rows(lines, columns):
    names = [name for name, _ in columns]
    for line in lines:
        row = json.loads(line, parse_int=decimal.Decimal, parse_float=decimal.Decimal)
        if list(row) != names:
            raise Misfit(f"columns {list(row)}, expected {names}")
        yield tuple(canonical(kind, row[name]) for name, kind in columns)


def expected_rows(connection, sql, columns):
    wrapped = []
    for name, kind in columns:
        quoted = '"' + name.replace('"', '""') + '"'
        wrapped.append(f"{INSTANTS[kind][0]}({quoted})" if kind in INSTANTS else quoted)
    cursor = connection.execute(f"SELECT {', '.join(wrapped)} FROM ({sql})")
    for row in cursor.fetchall():
        for (_, kind), value in zip(columns, row):
            if value is not None and (
                kind == "whole" and not -(2**63) <= value < 2**63 or kind == "exact" and digits(value) > 38
            ):
                raise Overflow(f"{value} is no {kind} number")
        yield tuple(canonical(kind, value) for (_, kind), value in zip(columns, row))


def digits(value):
    return len(decimal.Decimal(value).as_tuple().digits)


def compare(connection, sink):
    columns = sink["columns"]
    expected = Counter(expected_rows(connection, sink["sql"], columns))
    found = Counter(found_rows(sink["found"], columns))
    differences = []
    for row in sorted(found.keys() | expected.keys(), key=repr):
        if found[row] != expected[row]:
            shown = json.dumps(dict(zip([name for name, _ in columns], row)), ensure_ascii=False)
            differences.append(f"{shown}: {found[row]} times, expected {expected[row]}")
    return {"rows": sum(expected.values()), "differences": differences}


def serve(request):
    connection = duckdb.connect(":memory:", config={"threads": 1})
    # 1.4.1 takes what `date_trunc` gives for never null, and counts it so.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    statement = ""
    try:
        for statement in ["SET TimeZone = 'UTC'", *MACROS]:
            connection.execute(statement)
        for step in request["statements"]:
            statement = step["sql"]
            connection.execute(statement, step["lists"] or None)
        sinks = []
        for sink in request["sinks"]:
            statement = sink["sql"]
            sinks.append(compare(connection, sink))
        return {"sinks": sinks}
    except (Overflow, duckdb.OutOfRangeException) as error:
        return {"overflows": True, "error": str(error), "statement": statement}
    except duckdb.InvalidInputException as error:
        return {"overflows": "no room" in str(error), "error": str(error), "statement": statement}
    except Exception as error:  # whatever it is, the other side has to see it
        return {"error": f"{type(error).__name__}: {error}", "statement": statement}
    finally:
        connection.close()


def main():
    print(json.dumps({"ready": duckdb.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
