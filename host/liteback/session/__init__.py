"""The way to a board: the client of its agent."""
