from tests.engine.conftest import tiny_data, tiny_pairs  # noqa: F401  (fixtures)
