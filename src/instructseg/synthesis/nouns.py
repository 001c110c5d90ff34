"""What we know about nouns: their other names, their plurals, and which ones people mix up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

COCO_NOUNS = frozenset(
    """person/bicycle/car/motorcycle/airplane/bus/train/truck/boat/traffic light/fire hydrant/stop sign/parking meter
    /bench/bird/cat/dog/horse/sheep/cow/elephant/bear/zebra/giraffe/backpack/umbrella/handbag/tie/suitcase/frisbee/skis
    /snowboard/sports ball/kite/baseball bat/baseball glove/skateboard/surfboard/tennis racket/bottle/wine glass/cup
    /fork/knife/spoon/bowl/banana/apple/sandwich/orange/broccoli/carrot/hot dog/pizza/donut/cake/chair/couch
    /potted plant/bed/dining table/toilet/tv/laptop/mouse/remote/keyboard/cell phone/microwave/oven/toaster/sink
    /refrigerator/book/clock/vase/scissors/teddy bear/hair drier/toothbrush""".replace("\n    ", "").split("/")
)

FOOTWEAR = frozenset("boots clogs flats heels loafers pumps sandals shoes sneakers wedges".split())
OUTERWEAR = frozenset("blazer cape cardigan coat jacket suit vest hoodie sweatshirt".split())
TOPS = frozenset("blouse bodysuit cardigan hoodie jumper shirt sweater sweatshirt t-shirt top vest".split())
LEGWEAR = frozenset("jeans leggings pants stockings tights".split())
BAGS = frozenset("bag purse wallet".split())
DRESSES = frozenset("dress romper bodysuit jumper skirt suit".split())
EYEWEAR = frozenset("glasses sunglasses".split())
JEWELLERY = frozenset("bracelet earrings necklace ring watch".split())
UNDERWEAR = frozenset("bra panties swimwear".split())

FASHION_NOUNS = FOOTWEAR.union(
    OUTERWEAR, TOPS, LEGWEAR, BAGS, DRESSES, EYEWEAR, JEWELLERY, UNDERWEAR,
    "belt gloves hair hat scarf shorts socks tie".split(),
)  # fmt: skip

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "person": ("person", "human"),
    "bicycle": ("bicycle", "bike"),
    "car": ("car", "automobile"),
    "motorcycle": ("motorcycle", "motorbike"),
    "airplane": ("airplane", "plane", "aircraft"),
    "traffic light": ("traffic light", "stoplight"),
    "fire hydrant": ("fire hydrant", "hydrant"),
    "handbag": ("handbag", "purse"),
    "backpack": ("backpack", "rucksack"),
    "tie": ("tie", "necktie"),
    "suitcase": ("suitcase", "piece of luggage"),
    "sports ball": ("ball",),
    "baseball glove": ("baseball glove", "baseball mitt"),
    "tennis racket": ("tennis racket", "racket"),
    "donut": ("donut", "doughnut"),
    "couch": ("couch", "sofa"),
    "potted plant": ("potted plant", "houseplant"),
    "dining table": ("dining table", "table"),
    "tv": ("tv", "television"),
    "laptop": ("laptop", "laptop computer"),
    "mouse": ("computer mouse", "mouse"),
    "remote": ("remote", "remote control"),
    "cell phone": ("cell phone", "mobile phone", "phone"),
    "microwave": ("microwave", "microwave oven"),
    "oven": ("oven", "stove"),
    "refrigerator": ("refrigerator", "fridge"),
    "teddy bear": ("teddy bear", "stuffed animal"),
    "hair drier": ("hair dryer", "hair drier"),
    "t-shirt": ("t-shirt", "tee shirt"),
    "pants": ("pants", "trousers"),
    "sneakers": ("sneakers", "trainers"),
}

PLURALS: Mapping[str, str] = {
    "person": "people",
    "sheep": "sheep",
    "knife": "knives",
    "piece of luggage": "pieces of luggage",
    "computer mouse": "computer mice",
    "mouse": "mice",
    "cow": "cows",
    "broccoli": "pieces of broccoli",
    "scarf": "scarves",
    "watch": "watches",
    "aircraft": "aircraft",
    "piece of cutlery": "pieces of cutlery",
}

PLURAL_ONLY = FOOTWEAR.union(
    LEGWEAR, EYEWEAR, "earrings gloves shorts socks panties skis scissors trousers trainers".split()
)
MASS = frozenset(["hair", "swimwear", "footwear", "broccoli"])

SUPERCLASSES: Mapping[str, frozenset[str]] = {
    # Only classes that the vocabulary covers well: furniture and fruit have too many members nobody annotated.
    "vehicle": frozenset("bicycle car motorcycle airplane bus train truck boat".split()),
    "animal": frozenset("bird cat dog horse sheep cow elephant bear zebra giraffe".split()),
    "piece of cutlery": frozenset("fork knife spoon".split()),
    "footwear": FOOTWEAR,
}

# Word -> nouns that make the word doubtful when they are in the same picture.
_BLOCKED_BY: Mapping[str, frozenset[str]] = {
    "bike": frozenset(["motorcycle"]),
    "car": frozenset(["truck"]),
    "automobile": frozenset(["truck", "bus"]),
    "truck": frozenset(["car"]),
    "bear": frozenset(["teddy bear"]),
    "stuffed animal": frozenset(["bear"]),
    "animal": frozenset(["teddy bear"]),
    "purse": frozenset(["backpack", "suitcase"]),
    "piece of luggage": frozenset(["handbag", "backpack"]),
    "ball": frozenset(["frisbee"]),
    "houseplant": frozenset(["vase"]),
    "phone": frozenset(["remote"]),
    "stove": frozenset(["microwave", "toaster"]),
    "oven": frozenset(["microwave"]),
    "mouse": frozenset(["cat"]),
}

# Nouns annotators do not keep apart: with one of the group in the picture, no claim about another one is safe.
_INTERCHANGEABLE = (FOOTWEAR, TOPS, OUTERWEAR, LEGWEAR, BAGS, DRESSES, EYEWEAR, UNDERWEAR)

# Nouns that look alike or hide in each other: the absence of one is not claimed next to another.
_LOOKALIKE = tuple(
    frozenset(group.split("/"))
    for group in (
        "car/truck/bus/train",
        "bicycle/motorcycle",
        "chair/couch/bench/bed/toilet",
        "dining table/chair/bowl/cup/fork/knife/spoon/wine glass/pizza/cake/sandwich/donut/laptop/bottle/vase",
        "cup/wine glass/bottle/bowl/vase/potted plant",
        "fork/knife/spoon",
        "handbag/backpack/suitcase",
        "orange/apple/carrot/sports ball",
        "pizza/sandwich/hot dog/cake/donut",
        "bear/teddy bear/dog",
        "cow/horse/sheep",
        "tv/laptop/cell phone/keyboard/mouse/remote/book",
        "oven/microwave/toaster/refrigerator/sink",
        "skis/snowboard/skateboard/surfboard",
        "sports ball/frisbee/baseball glove/baseball bat/tennis racket",
        "person/tie/handbag/backpack/cell phone/baseball glove",
        "traffic light/stop sign/parking meter",
        "toothbrush/hair drier/sink",
        "kite/umbrella",
        "belt/pants/jeans/shorts/skirt/dress",
        "socks/boots/stockings/tights/leggings",
        "skirt/dress/shorts/cape",
        "romper/shorts/dress",
        "dress/coat/cape",
        "hat/hoodie",
        "shirt/suit/blazer",
    )
)

# Too small, too often left out by the annotators, or too often worn by unmarked people in the background of fashion
# photos for "there is none" to be safe.
NEVER_ABSENT = JEWELLERY.union(
    UNDERWEAR, FOOTWEAR - frozenset(["boots", "sandals"]), LEGWEAR, TOPS - frozenset(["vest", "bodysuit"]), BAGS,
    "tie gloves belt hair socks coat jacket glasses book bottle".split(),
)  # fmt: skip
BYSTANDERS_WEAR = FASHION_NOUNS - {"tie"}  # people in the background are unmarked: "all" and "only" are not claimed

NEVER_PASTED = frozenset(["hair", "dining table", "bra", "panties"])
NEVER_COLOURED = frozenset(
    ["person", "traffic light", "orange", "broccoli", "banana", "carrot", "tv", "dining table", "bowl"]
)


@cache
def words(noun: str, others: frozenset[str]) -> tuple[str, ...]:
    """The words that mean `noun` and nothing else in a picture that also holds `others`; may be empty."""
    if any(noun in group and others & group - {noun} for group in _INTERCHANGEABLE):
        return ()
    return tuple(word for word in SYNONYMS.get(noun, (noun,)) if not _BLOCKED_BY.get(word, frozenset()) & others)


@cache
def lookalikes(noun: str) -> frozenset[str]:
    """Nouns whose presence makes the absence of `noun` doubtful."""
    return frozenset().union(*(group for group in _LOOKALIKE + _INTERCHANGEABLE if noun in group)) - {noun}


def plural(word: str) -> str:
    """The plural of a word of ours."""
    if word in PLURALS or word in PLURAL_ONLY:
        return PLURALS.get(word, word)
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def is_plural(word: str) -> bool:
    """True for words that take "are" though they name one instance ("boots", "scissors")."""
    return word in PLURAL_ONLY


def indefinite(word: str) -> str:
    """The word with its article, where it has one: "a dog", "an apple", but "boots", "hair"."""
    if word in PLURAL_ONLY or word in MASS:
        return word
    return f"an {word}" if word[0] in "aeio" or word.startswith("um") else f"a {word}"


def domain_of(vocabulary: Collection[str]) -> str:
    """Which hand-written question table fits a dataset's nouns: "coco", "fashion", or "" for neither."""
    nouns = frozenset(vocabulary)
    return "coco" if nouns <= COCO_NOUNS else "fashion" if nouns <= FASHION_NOUNS else ""
