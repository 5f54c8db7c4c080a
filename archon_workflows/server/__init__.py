"""The MCP face: four tools, resources and a prompt over the engine's verbs, on three transports.

Rooms: ``app`` (the server), ``tool`` (from raw arguments to a result), ``arguments`` (the door), one room
for each tool, ``standing`` (where an execution stands), ``resources``, ``prompts``, ``stdio``
(and ``stdin``), ``http`` (and ``door``), and ``presentation``, where it is decided what a model reads. No
workflow logic lives here.
"""
