"""What the tests of this folder need: the fixtures of the package, and messages of its conformance tests."""

import pytest

pytest_plugins = ["closebulk_async.testing.plugin"]

pytest.register_assert_rewrite("closebulk_async.testing.conformance")
