"""How good is a model: pair lists, protocols, and reports that say what each number means.

It does not know photos or models: it takes similarities, or vectors by photo name. Every number
names its protocol, what it rests on, and where the data is too small to support it.
"""
