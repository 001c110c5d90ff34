"""Text as small pictures."""

import numpy as np
import pytest

from instructseg.media.text import ink_on, panel, printable, wrap

SENTENCE = "the tall man in the red coat who is about to cross the street"


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        (" two\n lines\t", "two lines"),
        ("café ñ", "cafe n"),
        ("狗 and 猫", "? and ?"),
        ("“quoted”…", "“quoted”…"),
        ("\x07", "?"),
        ("", ""),
    ],
)
def test_only_letters_the_font_has(text, shown):
    assert printable(text) == shown


def test_wrapping_loses_no_word():
    lines = wrap(SENTENCE, 16, 150, max_lines=20)
    assert len(lines) > 3 and " ".join(lines) == SENTENCE


def test_what_does_not_fit_ends_in_an_ellipsis():
    lines = wrap(SENTENCE, 16, 150, max_lines=2)
    assert len(lines) == 2 and lines[-1].endswith("…") and SENTENCE.startswith(lines[0])


def test_a_word_wider_than_the_line_is_broken():
    lines = wrap("w" * 100, 16, 150, max_lines=50)
    assert len(lines) > 5 and "".join(lines) == "w" * 100


@pytest.mark.parametrize("width", [0, -5, 3])
def test_no_room_no_panel(width):
    assert panel("text", 16, width, (0, 0, 0)).shape[:2] == (0, 0)


@pytest.mark.parametrize("text", ["", "  "])
def test_no_text_no_panel(text):
    assert panel(text, 16, 200, (0, 0, 0)).size == 0


@pytest.mark.parametrize("size", [11, 20, 160])
@pytest.mark.parametrize("text", ["a", SENTENCE, "gjpqy ÅÉ"])
def test_panels_stay_in_their_width_and_hold_ink_inside(size, text):
    picture = panel(text, size, 300, (0, 0, 0), opacity=0.5, max_lines=3)
    assert picture.shape[1] <= 300 and picture.shape[2] == 4
    ink = picture[..., :3].max(axis=2)
    assert ink.max() > 200
    assert not ink[0].any() and not ink[-1].any() and not ink[:, 0].any() and not ink[:, -1].any()
    plain = picture[..., 3][ink == 0]
    assert plain.max() == 128 and picture[..., 3].max() > 200  # ink is opaque, its panel is not


def test_corners_are_round():
    opacity = panel("a", 40, 300, (0, 0, 0))[..., 3]
    assert opacity[0, 0] == 0 and opacity[0, opacity.shape[1] // 2] == 255
    assert (opacity == opacity[::-1]).all() and (opacity == opacity[:, ::-1]).all()


@pytest.mark.parametrize("fill", [(0, 0, 0), (255, 255, 255), (0, 140, 245), (240, 200, 40)])
def test_ink_contrasts(fill):
    assert np.abs(np.subtract(fill, ink_on(fill))).max() >= 200
