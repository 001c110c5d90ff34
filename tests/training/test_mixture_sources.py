"""Sources of a mixture: every kind of dataset by its name; a sample depends on its number only."""

from collections import Counter
from dataclasses import replace

import mixed_world
import numpy as np
import painted_world
import pytest

from instructseg.data.prepare import prepare
from instructseg.data.readers.folder import MaskFolder
from instructseg.data.readers.ref_youtube_vos import RefYoutubeVos
from instructseg.errors import DataError, InputError, RecipeError
from instructseg.synthesis.composer import Composer
from instructseg.training.data.mixture import open_mixture
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.data.sources import ClipSource, ComposedSource, ConversationSource, ImageSource, open_source
from instructseg.training.data.validation_split import open_validation
from instructseg.training.recipe import DataRecipe, SourceRecipe
from instructseg.types import Task

COMPOSE = {"size": 128, "cache_side": 128, "expressions_per_photo": 3}
COCO = ({"annotations": "instances.json", "images": "."},)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    painted_world.paint(folder, photos=(0, 1, 2, 3, 4), scale=2)
    mixed_world.write_talk(folder)
    mixed_world.write_clips(folder)
    mixed_world.write_labelme(folder / "labelme")
    mixed_world.write_triples(folder / "triples")
    prepare(MaskFolder(folder / "triples"), folder / "prepared", "triples", "train")
    prepare(RefYoutubeVos(folder / "ref_youtube_vos"), folder / "prepared", "clips", "clips")
    return folder


def data(root, *sources, **more):
    settings = {"root": str(root), "coco": COCO, "compose": COMPOSE}
    return DataRecipe(sources=tuple(sources), **(settings | more))


KINDS = {
    "composed": (SourceRecipe("composed"), ComposedSource),
    "composed clips": (SourceRecipe("composed_clips"), ComposedSource),
    "labelme": (SourceRecipe("labelme", "all", root="labelme"), ImageSource),
    "folder": (SourceRecipe("folder", "all", root="triples"), ImageSource),
    "prepared photos": (SourceRecipe("prepared", "train", root="prepared"), ImageSource),
    "prepared clips": (SourceRecipe("prepared", "clips", root="prepared"), ClipSource),
    "clips": (SourceRecipe("ref_youtube_vos"), ClipSource),
    "talk": (SourceRecipe("llava_instruct", "llava_instruct_150k"), ConversationSource),
}


def opened(root, recipe, seed=3, **more):
    settings = data(root, recipe, **more)
    composer = None
    if recipe.name.startswith("composed"):
        composer = Composer(open_photos(settings, validation=False), compose_config(settings), seed=seed)
    return open_source(recipe, settings, composer, references=2, seed=seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_on_its_number_only(root, kind):
    recipe, expected = KINDS[kind]
    source, again = opened(root, recipe), opened(root, recipe)
    assert isinstance(source, expected)
    samples = [source.sample(index) for index in range(12)]
    for index in (7, 0, 11):
        other = again.sample(index)
        assert other.id == samples[index].id and (other.image == samples[index].image).all()
        assert [each.text for each in other.expressions] == [each.text for each in samples[index].expressions]
    assert len({sample.id for sample in samples}) == 12
    different = [opened(root, recipe, seed=4).sample(index).id.split("#")[0] for index in range(12)]
    assert different != [sample.id.split("#")[0] for sample in samples]


@pytest.mark.parametrize("name", ["composed", "composed_clips"])
def test_composed_sources_held_to_one_task(root, name):
    for task in (Task.RES, Task.REASON_SEG) if name == "composed" else (Task.RVOS, Task.REASON_VOS):
        source = opened(root, SourceRecipe(name, options={"task": task.value}))
        assert {source.sample(index).task for index in range(8)} == {task}
    with pytest.raises(RecipeError, match=f"source {name}: expected options .task: "):
        opened(root, SourceRecipe(name, options={"task": "chat"}))
    with pytest.raises(RecipeError, match="'tasks': 'res'"):
        opened(root, SourceRecipe(name, options={"tasks": "res"}))


@pytest.mark.parametrize("kind", ["composed clips", "clips", "prepared clips"])
def test_clips_have_a_key_frame_and_references(root, kind):
    source = opened(root, KINDS[kind][0])
    told = 0
    for index in range(6):
        sample = source.sample(index)
        assert sample.task.is_video and len(sample.frames) == 3 and len(sample.references) == 2
        for each in sample.expressions:
            assert each.mask is None or each.mask.any()
            if each.masks is not None:  # the truth of every frame, which the frames' tokens are taught by
                key = each.masks[sample.key]
                assert len(each.masks) == 3 and (not key.any() if each.mask is None else np.array_equal(key, each.mask))
                told += 1
    assert (told > 0) == (kind == "composed clips")


def test_photos_come_once_in_a_pass_with_other_sentences_each_time(root):
    source = opened(root, replace(KINDS["folder"][0], split="."), expressions=4)
    passes = [[source.sample(8 * turn + at) for at in range(8)] for turn in range(3)]
    for samples in passes:
        assert Counter(sample.id.split("#")[0] for sample in samples) == {f"folder/p{at}": 1 for at in range(8)}
        assert all(len(sample.expressions) == 4 for sample in samples)
    orders = [[sample.id.split("#")[0] for sample in samples] for samples in passes]
    assert orders[0] != orders[1] != orders[2]
    said = {tuple(each.text for each in sample.expressions) for samples in passes for sample in samples}
    assert len(said) > 5 and all(list(texts) == sorted(texts) for texts in said), "drawn anew, in their order"


def test_conversations_without_photo_or_answer_are_passed_over(root):
    source = opened(root, KINDS["talk"][0])
    samples = [source.sample(index) for index in range(50)]
    assert {sample.id.split("#")[0] for sample in samples} == {f"conversation/t{at}" for at in range(3)}
    assert all(sample.task is Task.CHAT and len(sample.frames) == 1 for sample in samples)
    assert {len(sample.expressions) for sample in samples} == {1, 2}
    assert all(turn.answer for sample in samples for turn in sample.expressions)


@pytest.mark.parametrize("kind", ["labelme", "folder"])
def test_your_own_data_is_divided_by_the_names_of_its_photos(root, kind):
    recipe = KINDS[kind][0]
    settings = data(root, recipe, coco=(), validation_percent=40)
    source = open_source(recipe, settings, None, 2, 0)
    trained = {source.sample(index).id.split("#")[0] for index in range(30)}
    held_out = {sample.id for sample in open_validation(settings, 0, 2)}
    assert trained and held_out and not trained & held_out
    assert trained | held_out == {f"{recipe.name}/p{at}" for at in range(8)}


def test_what_is_validated_on(root):
    sources = [SourceRecipe("composed"), KINDS["talk"][0]]
    settings = data(root, *sources, validation=(SourceRecipe("ref_youtube_vos"), KINDS["prepared photos"][0]))
    samples = open_validation(settings, 0, references=2)
    assert Counter(sample.id.split("/")[0] for sample in samples)["folder"] == 8
    clips = [sample for sample in samples if sample.task is Task.RVOS]
    assert len(clips) == 2 and all(len(clip.frames) == 3 for clip in clips)
    assert any(sample.id.startswith("coco/1/") for sample in samples)
    few = open_validation(settings, 2, references=2)
    assert len(few) < len(samples) and [sample.id for sample in few] == [
        sample.id for sample in open_validation(settings, 2, references=2)
    ]


def test_a_mixture_is_opened_from_a_recipe(root):
    recipes = [KINDS[kind][0] for kind in ("composed", "clips", "talk")]
    mixed = open_mixture(
        data(root, *(replace(recipe, ratio=ratio) for recipe, ratio in zip(recipes, (2, 1, 1), strict=True))),
        references=2, batch=2, steps=8, seed=0,
    )  # fmt: skip
    assert Counter(map(mixed.name, range(8))) == {"composed": 4, "ref_youtube_vos": 2, "llava_instruct": 2}
    tasks = {"composed": {Task.RES, Task.REASON_SEG}, "ref_youtube_vos": {Task.RVOS}, "llava_instruct": {Task.CHAT}}
    for step in range(8):
        assert mixed.sample(step, 0).task in tasks[mixed.name(step)]
    without = open_mixture(data(root, replace(recipes[0], ratio=0), recipes[2], coco=()), 2, 2, 4, 0)
    assert without.names == ("llava_instruct",)


@pytest.mark.parametrize(
    "recipe, kind, message",
    [
        (SourceRecipe("refcocoo"), InputError, "unknown dataset 'refcocoo'; did you mean refcoco"),
        (SourceRecipe("refcoco", "training"), RecipeError, "refcoco has no split 'training'; choose from train, val"),
        (SourceRecipe("reason_seg", options={"frst": 1}), RecipeError, "invalid options of source reason_seg"),
        (SourceRecipe("folder", "all", root="nowhere"), DataError, "nowhere is not a folder"),
        (SourceRecipe("composed", ratio=0), RecipeError, "data.sources: expected at least one ratio above 0"),
    ],
)
def test_sources_that_cannot_be_opened(root, tmp_path, recipe, kind, message):
    (tmp_path / "ReasonSeg" / "train").mkdir(parents=True)
    home = tmp_path if recipe.name == "reason_seg" else root
    with pytest.raises(kind) as error:
        open_mixture(data(home, recipe), 2, 2, 4, 0)
    assert message in str(error.value)


def test_conversations_that_cannot_train(tmp_path):
    mixed_world.write_talk(tmp_path, photos=0)
    with pytest.raises(DataError, match="expected conversations with a photo and an answer"):
        opened(tmp_path, KINDS["talk"][0]).sample(0)


def test_numpy_is_not_asked_for_random_numbers(root):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    for recipe, _ in KINDS.values():
        opened(root, recipe).sample(3)
    assert (np.random.get_state()[1] == before).all()


def test_clips_without_a_target_are_left_out_by_the_recipe(root):
    for wanted in (True, False):
        source = open_source(KINDS["clips"][0], data(root, no_target=wanted), None, 2, 0)
        assert isinstance(source, ClipSource) and source.sampler.no_target is wanted
