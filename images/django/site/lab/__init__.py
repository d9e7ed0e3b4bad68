"""The project: its settings, its addresses and its first page."""
