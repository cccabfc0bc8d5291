"""The command line: thin. Each command resolves its inputs, calls the library, prints.

One file for each noun or verb; `app.py` is the table of them.
"""
