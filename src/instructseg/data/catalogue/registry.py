"""Every dataset that the package can open, by name.

    CATALOGUE["refcoco"].open(Path("/data"), "val", joined=True)

All datasets are below one root, each in its own folder (`Entry.layout`); COCO's photos are shared in coco/.
"""

from __future__ import annotations

import difflib

from instructseg.data.catalogue import images as catalogue_images
from instructseg.data.catalogue import questions as catalogue_questions
from instructseg.data.catalogue import videos as catalogue_videos
from instructseg.data.catalogue.entry import Entry
from instructseg.errors import InputError

CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entries in (catalogue_images.ENTRIES, catalogue_videos.ENTRIES, catalogue_questions.ENTRIES)
    for entry in entries
}


def entry(name: str) -> Entry:
    """The dataset called `name`. The InputError for an unknown name suggests a similar one and lists all names."""
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"unknown dataset {name!r}; {hint}choose from {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]
