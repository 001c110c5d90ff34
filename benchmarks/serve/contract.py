"""schemathesis against the server's own OpenAPI file: no 5xx, and answers as they are described.

The server has room for any number of clips here: 503 over capacity is meant, and is no finding.

    pip install schemathesis
    python -m benchmarks.serve.contract [--examples 100]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ResultFile, make_parser, provenance
from benchmarks.serve.program import Program

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def main() -> None:
    parser = make_parser(__doc__, output="serve_contract.json", model=True)
    parser.add_argument("--examples", type=int, default=100, help="generated requests for each route (default: 100)")
    options = parser.parse_args()
    result = ResultFile(options.output, provenance("benchmarks.serve.contract", options, seed=0))
    with Program(options.model, "--clips", "100000") as program:
        schemathesis = Path(sys.executable).with_name("schemathesis")
        command = [
            str(schemathesis), "run", f"{program.address}/openapi.json", "--checks", CHECKS,
            "--max-examples", str(options.examples), "--seed", "0", "--workers", "1", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout[-6000:])
        counts = dict(re.findall(r"(Tested|Generated|Passed|Failed|Errors): +(\d+)", done.stdout))
        result.add(returncode=done.returncode, counts=counts, tracebacks=program.tracebacks(), tail=done.stdout[-1500:])
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
