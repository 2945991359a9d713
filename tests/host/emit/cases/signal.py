"""Spectra."""

from emit.case import Case, Out, const, rand

CASES = [
    Case("RFFT2D", [rand(2, 4, 8), const([4, 8], "int32")], outputs=[Out("complex64")]),
    Case("RFFT2D", [rand(5, 7), const([4, 8], "int32")], outputs=[Out("complex64")], name="crops-and-pads"),
]
