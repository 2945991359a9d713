"""What the schema has and liteback does not, each with its reason. Supported and declared together are the schema."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

NOT_YET = "liteback has no emitter for it yet"
NO_KERNEL = "the runtime has no kernel for it: a mark of the schema, not an operator of files"
STABLEHLO = "a StableHLO operator that no release of the runtime has a kernel for (register.cc, v2.21.0)"

# The StableHLO operators that files have and runtimes run: tflite-runtime 2.14 none of them.
WITH_KERNEL = frozenset(
    f"STABLEHLO_{name}"
    for name in ("ADD", "AND", "CASE", "COMPOSITE", "GATHER", "MAXIMUM", "MINIMUM", "MULTIPLY", "PAD", "REDUCE_WINDOW")
    + ("RNG_BIT_GENERATOR", "SCATTER", "SHIFT_LEFT")
)

# Custom operators whose arithmetic liteback knows, by name.
CUSTOM_OPS = frozenset(
    f"CUSTOM:{name}"
    for name in (
        "AudioSpectrogram",
        "Convolution2DTransposeBias",
        "Flex...",
        "FlexAvgPool3D",
        "FlexHashTableV2",
        "FlexLookupTableFindV2",
        "FlexLookupTableImportV2",
        "FlexMaxPool3D",
        "Landmarks2TransformMatrix",
        "MaxPoolingWithArgmax2D",
        "MaxUnpooling2D",
        "Mfcc",
        "PosenetDecoderOp",
        "Resampler",
        "SignalDelay",
        "SignalEnergy",
        "SignalFftAutoScale",
        "SignalFilterBank",
        "SignalFilterBankLog",
        "SignalFilterBankSpectralSubtraction",
        "SignalFilterBankSquareRoot",
        "SignalFramer",
        "SignalIrfft",
        "SignalOverlapAdd",
        "SignalPCAN",
        "SignalRfft",
        "SignalStacker",
        "SignalWindow",
        "TFLite_Detection_PostProcess",
        "TransformLandmarks",
        "TransformTensorBilinear",
        "aeq.hadamard_rotation",
    )
)

GAPS: dict[str, str] = {
    "CONCAT_EMBEDDINGS": NO_KERNEL,
    "DELEGATE": NO_KERNEL,
    "PLACEHOLDER_FOR_GREATER_OP_CODES": NO_KERNEL,
    "CUSTOM": "custom operators are supported by name",
    **{op: STABLEHLO for op in vars(schema.BuiltinOperator) if op.startswith("STABLEHLO_") and op not in WITH_KERNEL},
}
