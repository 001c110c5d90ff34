"""Train with FSDP2 on the CPU: accelerate offers it for accelerators only, so it is let in by hand here.

    accelerate launch --config_file fsdp2.yaml divided_weights.py RECIPE STOP KEY=VALUE ...

Leaves without a word before step STOP. Run by tests/training/test_equality.py.
"""

import os
import sys
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import DistributedType

from instructseg.training import precision
from instructseg.training import run as training
from instructseg.training.recipe import load_recipe


def main(recipe, stop, *overrides):
    precision.has_fast_bf16 = lambda: True  # so that a recipe with mixed_precision bf16 is run as on a GPU
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    run = training.Run(load_recipe(Path(recipe), overrides))
    assert run.state_manager.collective and run.accelerator.num_processes == 2
    make = run.one_step
    run.one_step = lambda pieces: os._exit(0) if run.step == int(stop) else make(pieces)
    run.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
