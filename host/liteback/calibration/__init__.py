"""What a board's recording says of its kernels, and whether a float model can be brought nearer to the board."""
