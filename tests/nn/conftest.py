"""One thread: the networks of these tests are small, and threads that wait for each other cost."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
