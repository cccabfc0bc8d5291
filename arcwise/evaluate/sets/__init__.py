"""Readers of lists and public sets: pairs, packs, templates, partitions. They measure nothing."""
