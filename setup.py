"""Puts the folder of configs into the package; everything else is declared in pyproject.toml."""

from setuptools import find_packages, setup

CONFIGS = "slowfast_atfr.configs"  # of a checkout, the folder configs beside the package

setup(
    packages=[*find_packages(include=["slowfast_atfr*"]), CONFIGS],
    package_dir={CONFIGS: "configs"},
    package_data={CONFIGS: ["**/*.yaml"]},
)
