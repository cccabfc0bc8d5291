"""Real processes that train together, for the tests of nn/ and train/."""
