"""How the workstation reaches a board."""
