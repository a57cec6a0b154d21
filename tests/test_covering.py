from itertools import combinations, product

from tests.covering import every_pair


def test_any_two_values_meet_and_cases_are_few():
    axes = ["abcdefgh", [1, 2, 3, 4, 5], [True, False], [None, 0, 7]]
    cases = every_pair(*axes)
    for (one, left), (other, right) in combinations(enumerate(axes), 2):
        assert {(case[one], case[other]) for case in cases} == set(product(left, right))
    assert len(cases) == len(set(cases)) < 50 and cases == every_pair(*axes)


def test_two_axes_are_crossed():
    assert every_pair("ab", [1, 2]) == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
