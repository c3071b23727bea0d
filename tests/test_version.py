"""The version."""

import finetune
from finetune.version import __version__


def test_the_version_is_a_release_number_and_the_packages_own():
    from packaging.version import Version

    assert str(Version(__version__)) == __version__
    assert finetune.__version__ == __version__
