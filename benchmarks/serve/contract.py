"""schemathesis against the server's own OpenAPI file: no 5xx, and answers as they are described.

The model is tiny and random and counts as trained to write, so that /v1/chat computes answers too. The server has room
for any number of clips here: 503 over capacity is meant, and is no finding.

    pip install schemathesis
    python -m benchmarks.serve.contract [--examples 40]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from benchmarks.harness import ResultFile, make_parser, provenance, tiny_model
from benchmarks.serve.program import CLIENT_SECONDS, Program

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> None:
    parser = make_parser(__doc__, output="serve_contract.json")
    parser.add_argument("--examples", type=int, default=40, help="generated requests for each route (default: 40)")
    options = parser.parse_args()
    facts = {"seed": 0, "model": "tiny, random weights, counted as trained to write"}
    result = ResultFile(options.output, provenance("benchmarks.serve.contract", options, **facts))
    with (
        tempfile.TemporaryDirectory() as folder,
        Program(str(tiny_model(Path(folder), score_threshold=0.0, writes_text=True)), "--clips", "100000") as program,
    ):
        schemathesis = Path(sys.executable).with_name("schemathesis")
        command = [
            str(schemathesis), "run", f"{program.address}/openapi.json", "--checks", CHECKS,
            "--max-examples", str(options.examples), "--request-timeout", str(CLIENT_SECONDS), "--seed", "0",
            "--workers", "1", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout[-6000:])
        counts = {
            name: int(count) for count, name in re.findall(r"(\d+) (generated|passed|failed|errors?)\b", done.stdout)
        }
        result.add(returncode=done.returncode, counts=counts, answers=answers(program), tracebacks=program.tracebacks())
        result.add(tail=done.stdout[-1500:])
    raise SystemExit(done.returncode)


def answers(program: Program) -> dict[str, dict[str, int]]:
    """How often each route answered with each status, by the server's own count."""
    pattern = r'instructseg_requests_total{method="(\w+)",route="([^"]+)",status="(\d+)"} (\S+)'
    table: dict[str, dict[str, int]] = {}
    for method, route, status, count in re.findall(pattern, httpx.get(f"{program.address}/metrics", timeout=60).text):
        table.setdefault(f"{method} {route}", {})[status] = int(float(count))
    return table


if __name__ == "__main__":
    main()
