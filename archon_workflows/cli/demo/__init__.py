"""The demonstration: real tool servers, all five step types, and the seed document's own example.

Rooms: ``demonstration`` (what runs, in which order), ``surroundings`` (tool servers, repository, what is
missing), ``infrastructure`` (a tool server of its own process), ``templates`` (the documents, as data).
"""
