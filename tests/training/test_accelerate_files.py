"""The shipped configurations of accelerate are read by accelerate itself."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

import instructseg

FOLDER = Path(instructseg.__file__).parent / "recipes" / "accelerate"
KINDS = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed": "DEEPSPEED"}


def test_all_files_are_listed():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_them(name):
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert config.distributed_type == KINDS[name] and config.num_machines == 1
    assert name != "deepspeed" or config.deepspeed_config["zero_stage"] == 1
    assert name != "fsdp2" or config.fsdp_config["fsdp_version"] == 2
