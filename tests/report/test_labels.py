"""Names in a figure do not lie on each other; where there is no room for one it is left out."""

import numpy as np

from pruneaudit.report.figures.labels import text_positions


def test_points_that_lie_apart_have_their_names_at_a_corner_that_error_bars_leave_free():
    places = text_positions([0.7, 0.8, 0.9], [0.5, 0.6, 0.7], ["a", "b", "c"])
    assert [place["align"] for place in places] == ["left"] * 3
    assert all(place["dx"] > 0 > place["dy"] for place in places), "right of the point and above it"


def test_names_of_near_points_go_to_different_sides():
    places = text_positions([0.70, 0.701, 0.9], [0.580, 0.581, 0.7], ["dense-6-epochs", "static-0.9", "dense"])
    assert places[0] != places[1]
    assert all(places)


def test_a_name_does_not_leave_the_plot():
    left, right = text_positions([0.0, 1.0], [0.0, 1.0], ["a-long-name-of-a-release"] * 2)
    assert (left["align"], right["align"]) == ("left", "right")


def test_where_there_is_no_room_some_names_are_left_out():
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(0, 0.001, (2, 30)).tolist()
    places = text_positions([*xs, 1.0], [*ys, 1.0], ["a-long-name-of-a-release"] * 31)
    assert 0 < places.count({}) < 31
    assert places[-1]


def test_one_point_and_none():
    assert text_positions([0.5], [0.5], ["alone"])[0]["align"] == "left"
    assert text_positions([], [], []) == []
