"""Run a notebook and store its outputs in it; pictures as JPEG only, no times, nothing of stderr.

    python -m tools.run_notebook examples/quickstart.ipynb     (needs nbclient and ipykernel: the extra docs)
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path) -> None:
    """Run the notebook in its own folder. Raises CellExecutionError, and changes nothing, when a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False, resources=folder).execute()
    for cell in notebook.cells:
        cell.outputs = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/jpeg" in output.get("data", {}):
                output.data.pop("image/png", None)  # Pillow's pictures offer both forms
        if cell.cell_type != "code":
            del cell["outputs"]
    notebook.metadata.language_info = {"name": "python"}
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
