"""AutoModel, AutoConfig, AutoProcessor and AutoImageProcessor give our classes after `import instructseg`."""

import json
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import tiny_model

from instructseg import auto_classes
from instructseg.model import storage

READ = """
import json, sys
import instructseg
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor
folder = sys.argv[1]
classes = {}
for auto in (AutoProcessor, AutoImageProcessor, AutoConfig, AutoModel):
    loaded = auto.from_pretrained(folder)
    classes[auto.__name__] = type(loaded).__name__
facts = {"weights": str(loaded.mask_tokens.dtype), "stored": hasattr(loaded.config, "weight_storage")}
print(json.dumps(classes | facts))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("auto")
    model, processor = tiny_model.build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "SMALLEST", 256)
        storage.save_compact(model, path)
    processor.save_pretrained(path)
    return path


@pytest.mark.slow
def test_auto_classes_in_a_fresh_process(folder):
    done = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "AutoProcessor": "InstructSegProcessor", "AutoImageProcessor": "InstructSegImageProcessor",
        "AutoConfig": "InstructSegConfig", "AutoModel": "InstructSegModel", "weights": "torch.float32", "stored": False,
    }  # fmt: skip


def test_the_import_alone_stays_light():
    code = (
        "import time, sys; cpu = time.process_time(); import instructseg; "
        "print(time.process_time() - cpu, *{'torch', 'transformers', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *heavy = done.stdout.split()
    assert not heavy and float(seconds) < 0.2


def test_tables_that_are_imported_before_this_package(monkeypatch):
    """They import ours at the first look-up, once, and keep what was registered with them."""
    imported = []
    monkeypatch.setattr(auto_classes, "import_module", imported.append)
    module = ModuleType(f"{auto_classes.AUTO}processing_auto")
    module.PROCESSOR_MAPPING = SimpleNamespace(_extra_content={int: "theirs"})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for _ in range(2):
        auto_classes.register_when_needed()
    table = module.PROCESSOR_MAPPING._extra_content
    table[str] = "registered"
    assert not imported and sum(isinstance(finder, auto_classes._AutoModules) for finder in sys.meta_path) == 1
    assert int in table and table[str] == "registered" and list(table.values()) == ["theirs", "registered"]
    assert imported == ["instructseg.model.processing"]
