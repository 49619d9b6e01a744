"""Names in a figure do not lie on each other; where there is no room for one it is left out."""

import numpy as np

from pruneaudit.report.figures.labels import text_positions

ENDS = (0.6, 1.0), (0.5, 0.75)


def test_points_that_lie_apart_have_their_names_at_a_corner_that_error_bars_leave_free():
    places = text_positions([0.7, 0.8, 0.9], [0.5, 0.6, 0.7], ["a", "b", "c"], (0.6, 1.0), (0.4, 0.8))
    assert [place["align"] for place in places] == ["left"] * 3
    assert all(place["dx"] > 0 > place["dy"] for place in places), "right of the point and above it"


def test_names_of_near_points_go_to_different_sides():
    places = text_positions([0.70, 0.701, 0.9], [0.580, 0.581, 0.7], ["dense-6-epochs", "static-0.9", "dense"], *ENDS)
    assert places[0] != places[1]
    assert all(places)


def test_a_name_does_not_leave_the_plot():
    left, right = text_positions([0.1, 0.9], [0.1, 0.9], ["a-long-name-of-a-release"] * 2, (0, 1), (0, 1))
    assert (left["align"], right["align"]) == ("left", "right")


def test_long_axes_leave_less_room_for_names():
    near = [0.719, 0.73, 0.736], [0.602, 0.605, 0.596], ["l1unstructured-0.9", "static-0.9", "dpf-0.9"]
    shown = [
        3 - text_positions(*near, *ends).count({})
        for ends in (((0.7, 0.75), (0.59, 0.61)), ((0.6, 0.85), (0.5, 0.77)), ((0.0, 1.0), (0.0, 1.0)))
    ]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] == 3


def test_where_there_is_no_room_some_names_are_left_out():
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(0, 0.001, (2, 30)).tolist()
    places = text_positions([*xs, 1.0], [*ys, 1.0], ["a-long-name-of-a-release"] * 31, (-0.5, 1.2), (-0.5, 1.2))
    assert 0 < places.count({}) < 31
    assert places[-1]


def test_one_point_and_none():
    assert text_positions([0.5], [0.5], ["alone"], (0, 1), (0, 1))[0]["align"] == "left"
    assert text_positions([], [], [], (0, 1), (0, 1)) == []
