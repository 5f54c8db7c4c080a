"""What a model reads: each answer twice, as a few lines of text and as structured content with a schema.

Short by default. Both forms say the same; the text never repeats the structured content as JSON, because
some hosts show a model the one, some the other, and some both.
"""
