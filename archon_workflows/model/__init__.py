"""Documents and records: templates and their validation, JSON values on their way in, the rows.

Pure: nothing here reads a clock, a file, chance or the network. What runs a template is on the floors above.
"""
