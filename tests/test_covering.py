from itertools import combinations, product

from tests.covering import every_pair, pairs_first


def test_any_two_values_meet_and_cases_are_few():
    axes = ["abcdefgh", [1, 2, 3, 4, 5], [True, False], [None, 0, 7]]
    cases = every_pair(*axes)
    for (one, left), (other, right) in combinations(enumerate(axes), 2):
        assert {(case[one], case[other]) for case in cases} == set(product(left, right))
    assert len(cases) == len(set(cases)) < 50 and cases == every_pair(*axes)


def test_two_axes_are_crossed():
    assert every_pair("ab", [1, 2]) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_combinations_left_out_of_the_pairs_are_slow():
    axes = ["abc", [1, 2], [True, False]]
    quick = [case for case in pairs_first(*axes) if isinstance(case, tuple) and not hasattr(case, "marks")]
    slow = [case for case in pairs_first(*axes) if hasattr(case, "marks")]
    assert sorted(quick) == every_pair(*axes) and {mark.name for case in slow for mark in case.marks} == {"slow"}
    assert {*quick, *(case.values for case in slow)} == set(product(*axes))
