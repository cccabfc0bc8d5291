"""Training: from a folder of crops to a checkpoint, resumable to the same loss.

It does not know the command line, and nothing that recognizes imports it. Importing it needs
torch; `arcwise.nn`, imported here first, says so in one sentence where torch is missing.
"""

import arcwise.nn  # noqa: F401 - only to fail early and in our own words
